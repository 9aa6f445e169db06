// Integral images of uint8 (Crow 1984; Viola and Jones 2001, section 2.1).
//
// Four rows at a time, a register of columns after the other. In-register prefix sums of single rows are added up
// over the four rows in 16 bits; base = row above - its left neighbour; out[r] = base + those sums + left[r]; left[r] =
// last lane of out[r]. The chain from one register to the next is one add and one permute per row, and four rows hide
// it. Floor: the image is read and the sums are written once, 5 bytes a pixel at the 29 GB/s that one core moves to and
// from L3: 0.35 ms at 1920x1080. Measured 0.31 ms (some of it stays in L2). 64-byte stores that straddle cache lines
// cost 0.44 ms, so AVX-512 shifts its sums into aligned registers first. Non-temporal stores lost: 27 GB/s.
#include "kernels/integral_image.h"

#include "isa/simd.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12: the undefined registers inside its own intrinsics
#endif

namespace saccade::SACCADE_ISA {
namespace {

constexpr int kRows = 4;
constexpr int kGroup = kLanes<std::int32_t>;  // columns in one output register
constexpr int kBlock = 2 * kGroup;            // columns in one register of 16 bits

using V16 = Vec<std::uint16_t>;
using V32 = Vec<std::uint32_t>;  // int32 sums wrap, as unsigned ones may
using V64 = Vec<std::uint64_t>;
using VD = Vec<double>;

// ---- Shuffles: one spelling per register width --------------------------------------------------------------------
#if defined(__AVX512BW__)
SACCADE_HD V32 low_half(V16 v) { return (V32)_mm512_cvtepu16_epi32(_mm512_castsi512_si256((__m512i)v)); }
SACCADE_HD V32 high_half(V16 v) { return (V32)_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64((__m512i)v, 1)); }
SACCADE_HD VD low_half(V32 v) { return (VD)_mm512_cvtepi32_pd(_mm512_castsi512_si256((__m512i)v)); }
SACCADE_HD VD high_half(V32 v) { return (VD)_mm512_cvtepi32_pd(_mm512_extracti64x4_epi64((__m512i)v, 1)); }
SACCADE_HD V32 last_lane(V32 v) { return (V32)_mm512_permutexvar_epi32(_mm512_set1_epi32(15), (__m512i)v); }
SACCADE_HD VD last_lane(VD v) { return (VD)_mm512_permutexvar_pd(_mm512_set1_epi64(7), (__m512d)v); }
// From prefix sums within four columns to those within sixteen.
SACCADE_HD V16 prefix_groups(V16 v) {
  const __m512i fourth = _mm512_maskz_shuffle_epi8(0xff00ff00ff00ff00u, (__m512i)v, _mm512_set1_epi16(0x0706));
  const __m512i eight = _mm512_add_epi16((__m512i)v, fourth);
  const V64 index = {0, 0, 0x7000700070007, 0x7000700070007, 0, 0, 0x17001700170017, 0x17001700170017};
  return (V16)_mm512_add_epi16(eight, _mm512_maskz_permutexvar_epi16(0xff00ff00u, (__m512i)index, eight));
}
// From prefix sums within two columns to those within sixteen.
SACCADE_HD V32 prefix_groups(V32 v) {
  __m512i s = (__m512i)v;
  s = _mm512_add_epi32(s, _mm512_maskz_shuffle_epi32(0xcccc, s, _MM_PERM_BBBB));
  const V32 fourth = {0, 0, 0, 0, 3, 3, 3, 3, 0, 0, 0, 0, 11, 11, 11, 11};
  s = _mm512_add_epi32(s, _mm512_maskz_permutexvar_epi32(0xf0f0, (__m512i)fourth, s));
  return (V32)_mm512_add_epi32(s, _mm512_maskz_permutexvar_epi32(0xff00, _mm512_set1_epi32(7), s));
}
#elif defined(__AVX2__)
SACCADE_HD V32 low_half(V16 v) { return (V32)_mm256_cvtepu16_epi32(_mm256_castsi256_si128((__m256i)v)); }
SACCADE_HD V32 high_half(V16 v) { return (V32)_mm256_cvtepu16_epi32(_mm256_extracti128_si256((__m256i)v, 1)); }
SACCADE_HD VD low_half(V32 v) { return (VD)_mm256_cvtepi32_pd(_mm256_castsi256_si128((__m256i)v)); }
SACCADE_HD VD high_half(V32 v) { return (VD)_mm256_cvtepi32_pd(_mm256_extracti128_si256((__m256i)v, 1)); }
SACCADE_HD V32 last_lane(V32 v) { return (V32)_mm256_permutevar8x32_epi32((__m256i)v, _mm256_set1_epi32(7)); }
SACCADE_HD VD last_lane(VD v) { return (VD)_mm256_permute4x64_pd((__m256d)v, 0xff); }
SACCADE_HD V16 prefix_groups(V16 v) {
  const __m256i fourth = _mm256_set_epi64x(0x0706070607060706, -1, 0x0706070607060706, -1);
  return v + (V16)_mm256_shuffle_epi8((__m256i)v, fourth);
}
SACCADE_HD V32 prefix_groups(V32 v) {
  const __m256i second = _mm256_set_epi32(0x07060504, 0x07060504, -1, -1, 0x07060504, 0x07060504, -1, -1);
  v += (V32)_mm256_shuffle_epi8((__m256i)v, second);
  const __m256i fourth = _mm256_permutevar8x32_epi32((__m256i)v, _mm256_set1_epi32(3));
  return v + (V32)_mm256_blend_epi32(_mm256_setzero_si256(), fourth, 0xf0);
}
#else
SACCADE_HD V32 low_half(V16 v) { return V32{v[0], v[1], v[2], v[3]}; }
SACCADE_HD V32 high_half(V16 v) { return V32{v[4], v[5], v[6], v[7]}; }
SACCADE_HD VD low_half(V32 v) { return VD{static_cast<double>(v[0]), static_cast<double>(v[1])}; }
SACCADE_HD VD high_half(V32 v) { return VD{static_cast<double>(v[2]), static_cast<double>(v[3])}; }
SACCADE_HD V32 last_lane(V32 v) { return V32{v[3], v[3], v[3], v[3]}; }
SACCADE_HD VD last_lane(VD v) { return VD{v[1], v[1]}; }
SACCADE_HD V16 prefix_groups(V16 v) { return v; }  // a group is four columns
SACCADE_HD V32 prefix_groups(V32 v) { return v + V32{0, 0, v[1], v[1]}; }
#endif

// Prefix sums within four (two) columns, by shifts of 64-bit lanes; then within a group.
SACCADE_HD V16 row_sums(V16 v) {
  V64 s = (V64)v;
  s = (V64)((V16)s + (V16)(s << 16));
  s = (V64)((V16)s + (V16)(s << 32));
  return prefix_groups((V16)s);
}
SACCADE_HD V32 row_sums(V32 v) { return prefix_groups((V32)((V64)v << 32) + v); }

// ---- uint8 --------------------------------------------------------------------------------------------------------

// One output (sums or sums of squares) of R rows: where it goes, and what passes from one register to the next.
template <int R, class V>
struct Output {
  Element<V>* row[R];
  const Element<V>* above;  // null: zeros
  V left_above, left[R];    // the last sum so far, in every lane
#if defined(__AVX512F__)
  // Aligned stores: `shift` lanes late, so that a stored register holds the end of the last one and most of the new
  // one.
  V pending[R], lanes[R];
  std::int64_t shift[R];
#endif
};

template <int R, class V>
SACCADE_HD Output<R, V> start(Element<V>* out, std::int64_t stride, const Element<V>* above) {
  Output<R, V> o{};
  o.above = above;
  for (int r = 0; r < R; ++r) {
    o.row[r] = out + r * stride;
#if defined(__AVX512F__)
    o.shift[r] = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(o.row[r]) % sizeof(V) / sizeof(Element<V>));
    o.lanes[r] = (V)(iota<Mask<V>>() + static_cast<Element<Mask<V>>>(kLanesOf<V> - o.shift[r]));
#endif
  }
  return o;
}

template <bool kFirst, int R, class V>
SACCADE_HD void put(Output<R, V>& o, int r, std::int64_t x, V value) {
#if defined(__AVX512F__)
  if constexpr (!kFirst) {
    V joined;
    if constexpr (sizeof(Element<V>) == 8)
      joined = (V)_mm512_permutex2var_pd((__m512d)o.pending[r], (__m512i)o.lanes[r], (__m512d)value);
    else
      joined = (V)_mm512_permutex2var_epi32((__m512i)o.pending[r], (__m512i)o.lanes[r], (__m512i)value);
    store<V>(o.row[r] + x - o.shift[r], joined);
    o.pending[r] = value;
    return;
  }
  o.pending[r] = value;
#endif
  store<V>(o.row[r] + x, value);
}

// One register of columns; `sums` are the in-register prefix sums, added up over rows 0..r.
template <bool kFirst, int R, class V>
SACCADE_HD void step(Output<R, V>& o, std::int64_t x, const V (&sums)[R]) {
  V base{};
  if (o.above != nullptr) {
    const V above = load<V>(o.above + x);
    base = above - o.left_above;
    o.left_above = last_lane(above);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const V value = base + sums[r] + o.left[r];
    put<kFirst>(o, r, x, value);
    o.left[r] = last_lane(value);
  }
}

// The columns from x on: n of them, up to a register.
template <int R, class V>
SACCADE_HD void step_partial(Output<R, V>& o, std::int64_t x, const V (&sums)[R], std::int64_t n) {
  if (n <= 0) return;
  if (n > kLanesOf<V>) n = kLanesOf<V>;
  V base{};
  if (o.above != nullptr) {
    const V above = load_partial<V>(o.above + x, n);
    base = above - o.left_above;
    o.left_above = last_lane(above);
  }
  for (int r = 0; r < R; ++r) {
    const V value = base + sums[r] + o.left[r];
    store_partial<V>(o.row[r] + x, value, n);
    o.left[r] = last_lane(value);
  }
}

// What the aligned stores still hold back before column x.
template <int R, class V>
SACCADE_HD void flush([[maybe_unused]] Output<R, V>& o, [[maybe_unused]] std::int64_t x) {
#if defined(__AVX512F__)
  for (int r = 0; r < R && x > 0; ++r) store<V>(o.row[r] + x - kLanesOf<V>, o.pending[r]);
#endif
}

// The prefix sums of kBlock columns of R rows, in registers of kGroup columns; `square` only where wanted.
template <int R>
struct Block {
  V32 low[R], high[R], square_low[R], square_high[R];
};

template <int R, bool kSquares>
SACCADE_HD Block<R> block_sums(const std::uint8_t* image, std::int64_t stride, std::int64_t n) {
  Block<R> b;
  V16 sum{};
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    using Pixels = Vec<std::uint8_t, kBlock>;
    const Pixels pixels = n == kBlock ? load<Pixels>(image + r * stride) : load_partial<Pixels>(image + r * stride, n);
    const V16 wide = __builtin_convertvector(pixels, V16);
    sum += row_sums(wide);
    b.low[r] = low_half(sum);
    b.high[r] = high_half(sum);
    if constexpr (kSquares) {
      const V16 square = wide * wide;
      b.square_low[r] = row_sums(low_half(square));
      b.square_high[r] = row_sums(high_half(square));
      if (r > 0) b.square_low[r] += b.square_low[r - 1], b.square_high[r] += b.square_high[r - 1];
    }
  }
  return b;
}

// Sums of squares as doubles: along the rows they stay uint32, sixteen columns to a register, for kSquareChunk columns
// (four rows of squares stay below 2^31); what came before that is in `left`. A double is then converted, added twice
// and stored; carrying sums from one register of doubles to the next took 0.33 ms
// instead of 0.22 at 512x512.
constexpr std::int64_t kSquareChunk = 8192;

template <int R, class Q>
struct Squares {
  Output<R, Vec<Q>> out;
  V32 carry[R];  // the last sum of squares so far, in every lane
};

template <int R>
SACCADE_HD void end_chunk(Squares<R, double>& s) {
  for (int r = 0; r < R; ++r) {
    s.out.left[r] += low_half(s.carry[r]);
    s.carry[r] = V32{};
  }
}
template <int R>
SACCADE_HD void end_chunk(Squares<R, std::uint32_t>&) {}

template <bool kFirst, int R>
SACCADE_HD void square_group(Squares<R, double>& s, std::int64_t x, const V32 (&sums)[R]) {
  VD low{}, high{};
  if (s.out.above != nullptr) low = load<VD>(s.out.above + x), high = load<VD>(s.out.above + x + kGroup / 2);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const V32 sum = sums[r] + s.carry[r];
    s.carry[r] = last_lane(sum);
    put<kFirst>(s.out, r, x, low + (s.out.left[r] + low_half(sum)));
    put<false>(s.out, r, x + kGroup / 2, high + (s.out.left[r] + high_half(sum)));
  }
}
template <bool kFirst, int R>
SACCADE_HD void square_group(Squares<R, std::uint32_t>& s, std::int64_t x, const V32 (&sums)[R]) {
  step<kFirst>(s.out, x, sums);
}

// The columns from x on: n of them, up to a group.
template <int R>
SACCADE_HD void square_partial(Squares<R, double>& s, std::int64_t x, const V32 (&sums)[R], std::int64_t n) {
  constexpr int kHalf = kGroup / 2;
  const std::int64_t low_n = n < kHalf ? n : kHalf, high_n = n - low_n < kHalf ? n - low_n : kHalf;
  if (n <= 0) return;
  VD low{}, high{};
  if (s.out.above != nullptr) {
    low = load_partial<VD>(s.out.above + x, low_n);
    high = load_partial<VD>(s.out.above + x + kHalf, high_n);
  }
  for (int r = 0; r < R; ++r) {
    const V32 sum = sums[r] + s.carry[r];
    s.carry[r] = last_lane(sum);
    store_partial<VD>(s.out.row[r] + x, low + (s.out.left[r] + low_half(sum)), low_n);
    store_partial<VD>(s.out.row[r] + x + kHalf, high + (s.out.left[r] + high_half(sum)), high_n);
  }
}
template <int R>
SACCADE_HD void square_partial(Squares<R, std::uint32_t>& s, std::int64_t x, const V32 (&sums)[R], std::int64_t n) {
  step_partial(s.out, x, sums, n);
}

template <int R, bool kSquares, class Q>
void u8_rows(const IntegralRows<Q>& a, std::int64_t y) {
  const std::uint8_t* image = a.image + y * a.image_stride;
  const std::int32_t* above = y > 0 ? a.sum + (y - 1) * a.sum_stride : a.sum_above;
  const Q* square_above = y > 0 ? a.square + (y - 1) * a.square_stride : a.square_above;
  auto sum = start<R, V32>(reinterpret_cast<std::uint32_t*>(a.sum) + y * a.sum_stride, a.sum_stride,
                           reinterpret_cast<const std::uint32_t*>(above));
  Squares<kSquares ? R : 1, Q> square = {
      start<kSquares ? R : 1, Vec<Q>>(a.square + y * a.square_stride, a.square_stride, square_above), {}};
  for (int r = 0; r < R && a.zero_column; ++r) {
    sum.row[r][-1] = 0;
    if constexpr (kSquares) square.out.row[r][-1] = 0;
  }
  const auto block = [&](auto first, std::int64_t x) {
    const Block<R> b = block_sums<R, kSquares>(image + x, a.image_stride, kBlock);
    step<decltype(first)::value>(sum, x, b.low);
    step<false>(sum, x + kGroup, b.high);
    if constexpr (kSquares) {
      if (x % kSquareChunk == 0 && x > 0) end_chunk(square);
      square_group<decltype(first)::value>(square, x, b.square_low);
      square_group<false>(square, x + kGroup, b.square_high);
    }
  };
  std::int64_t x = 0;
  if (a.width >= kBlock) {
    block(std::true_type{}, 0);
    for (x = kBlock; x + kBlock <= a.width; x += kBlock) block(std::false_type{}, x);
    flush(sum, x);
    if constexpr (kSquares) flush(square.out, x);
  }
  if (x < a.width) {
    const Block<R> b = block_sums<R, kSquares>(image + x, a.image_stride, a.width - x);
    step_partial(sum, x, b.low, a.width - x);
    step_partial(sum, x + kGroup, b.high, a.width - x - kGroup);
    if constexpr (kSquares) {
      if (x % kSquareChunk == 0 && x > 0) end_chunk(square);
      square_partial(square, x, b.square_low, a.width - x);
      square_partial(square, x + kGroup, b.square_high, a.width - x - kGroup);
    }
  }
}

template <bool kSquares, class Q>
void u8_all(const IntegralRows<Q>& a) {
  std::int64_t y = 0;
  for (; y + kRows <= a.height; y += kRows) u8_rows<kRows, kSquares>(a, y);
  for (; y < a.height; ++y) u8_rows<1, kSquares>(a, y);
}

template <class Q>
void u8(const IntegralRows<Q>& a) {
  a.square == nullptr ? u8_all<false>(a) : u8_all<true>(a);
}

void u8_above(const std::uint8_t* image, std::int64_t stride, std::int64_t height, std::int64_t width,
              std::uint32_t* sum, double* square) {
  // 64 rows of squares stay below 2^32. A row of 512 columns of sums waits in L1.
  constexpr std::int64_t kTileRows = 64, kTileColumns = 512;
  for (std::int64_t begin = 0; begin < width; begin += kTileColumns)
    for (std::int64_t top = 0; top < height; top += kTileRows) {
      const std::int64_t columns = width - begin < kTileColumns ? width - begin : kTileColumns;
      const std::int64_t rows = height - top < kTileRows ? height - top : kTileRows;
      std::uint16_t sums[kTileColumns] = {};
      std::uint32_t squares[kTileColumns] = {};
      for (std::int64_t y = top; y < top + rows; ++y) {
        const std::uint8_t* SACCADE_RESTRICT row = image + y * stride + begin;
        for (std::int64_t x = 0; x < columns; ++x) sums[x] = static_cast<std::uint16_t>(sums[x] + row[x]);
        if (square != nullptr)
          for (std::int64_t x = 0; x < columns; ++x) squares[x] += static_cast<std::uint32_t>(row[x] * row[x]);
      }
      for (std::int64_t x = 0; x < columns; ++x) sum[begin + x] += sums[x];
      if (square != nullptr)
        for (std::int64_t x = 0; x < columns; ++x) square[begin + x] += static_cast<double>(squares[x]);
    }
}

}  // namespace

const IntegralKernels integral_kernels = {u8<double>, u8<std::uint32_t>, u8_above};

}  // namespace saccade::SACCADE_ISA
