// Mean filter of uint8, row after row, 16 bits a pixel throughout: three passes over lines that stay in L1.
//   1. line = new row - old row (`difference`), its ends mirrored
//   2. the sums of the line over the window's columns: up to 8 by doubling in registers, more as differences of prefix
//      sums, which may wrap
//   3. the means move by these sums (`move_blocks`): one multiplication divides; where the total exceeds 16 bits its
//      remainder is kept instead, at four instructions more
// Measured at 1920x1080 on one thread (Zen 4, AVX-512; memory alone: some 0.15 ms): 5x5 0.20 ms, 31x31 0.34 ms, 91x91
// 0.42 ms. Larger windows take in their columns in parts that 16 bits hold, up to eight: 151x151 0.87 ms. What lost:
//   - sums by blocks in 32 bits, division in double (as for floats): 5x5 1.35 ms, 31x31 3.5 ms, 151x151 2.7 ms
//   - 5 columns by loads at every place instead of lanes moved in registers: 0.30 ms; each load crosses a cache line
//   - doubling for more than 8 columns: 9 gained about 6 %, 15 lost about 8 %
#include "kernels/box_filter_u8.h"

#include "isa/simd.h"

namespace saccade::SACCADE_ISA {
namespace {

using V16 = Vec<std::uint16_t>;
using V64 = Vec<std::uint64_t>;
constexpr std::int64_t kBlock = kLanesOf<V16>;
using V8 = Vec<std::uint8_t, kBlock>;

constexpr int kDirect = 8;  // columns summed by doubling; no more than lanes in the smallest register

// ---- Shuffles: one spelling per register width --------------------------------------------------------------------
#if defined(__AVX512BW__)
SACCADE_HD V16 mul_high(V16 a, V16 b) { return (V16)_mm512_mulhi_epu16((__m512i)a, (__m512i)b); }
SACCADE_HD V16 last_lane(V16 v) {
  return (V16)_mm512_maskz_permutexvar_epi16(0xffffffffu, _mm512_set1_epi16(31), (__m512i)v);
}
// From prefix sums within four lanes to those within the register.
SACCADE_HD V16 prefix_groups(V16 v) {
  __m512i s = (__m512i)v;
  s = _mm512_add_epi16(s, _mm512_maskz_shuffle_epi8(0xff00ff00ff00ff00u, s, _mm512_set1_epi16(0x0706)));
  const V64 eighth = {0, 0, 0x7000700070007, 0x7000700070007, 0, 0, 0x17001700170017, 0x17001700170017};
  s = _mm512_add_epi16(s, _mm512_maskz_permutexvar_epi16(0xff00ff00u, (__m512i)eighth, s));
  return (V16)_mm512_add_epi16(s, _mm512_maskz_permutexvar_epi16(0xffff0000u, _mm512_set1_epi16(15), s));
}
#elif defined(__AVX2__)
SACCADE_HD V16 mul_high(V16 a, V16 b) { return (V16)_mm256_mulhi_epu16((__m256i)a, (__m256i)b); }
SACCADE_HD V16 last_lane(V16 v) {
  return (V16)_mm256_shuffle_epi8(_mm256_permute4x64_epi64((__m256i)v, 0xff), _mm256_set1_epi16(0x0706));
}
SACCADE_HD V16 prefix_groups(V16 v) {
  const __m256i fourth = _mm256_set_epi64x(0x0706070607060706, -1, 0x0706070607060706, -1);
  v += (V16)_mm256_shuffle_epi8((__m256i)v, fourth);
  const __m256i low = _mm256_permute2x128_si256((__m256i)v, (__m256i)v, 0x08);  // zeros, the lower half
  return v + (V16)_mm256_shuffle_epi8(low, _mm256_set1_epi16(0x0f0e));
}
#else
SACCADE_HD V16 mul_high(V16 a, V16 b) {
#if defined(__SSE2__)
  return (V16)_mm_mulhi_epu16((__m128i)a, (__m128i)b);
#else
  using Wide = Vec<std::uint32_t, kLanesOf<V16> >;
  return __builtin_convertvector((__builtin_convertvector(a, Wide) * __builtin_convertvector(b, Wide)) >> 16, V16);
#endif
}
SACCADE_HD V16 last_lane(V16 v) { return splat<V16>(v[7]); }
SACCADE_HD V16 prefix_groups(V16 v) {
  const std::uint64_t fourth = ((V64)v)[0] >> 48;
  return v + (V16)V64{0, fourth * 0x0001000100010001u};
}
#endif

// Lanes kShift earlier: the last kShift of `before`, then the first of `v`; up to 8.
template <int kShift>
SACCADE_HD V16 earlier(V16 before, V16 v) {
#if defined(__AVX512BW__)
  if constexpr (kShift % 2 == 0)
    return (V16)_mm512_maskz_alignr_epi32(0xffff, (__m512i)v, (__m512i)before, 16 - kShift / 2);
  const V16 lanes = iota<V16>() + static_cast<std::uint16_t>(32 - kShift);
  return (V16)_mm512_permutex2var_epi16((__m512i)before, (__m512i)lanes, (__m512i)v);
#elif defined(__AVX2__)
  const __m256i middle = _mm256_permute2x128_si256((__m256i)before, (__m256i)v, 0x21);
  return (V16)_mm256_alignr_epi8((__m256i)v, middle, 16 - 2 * kShift);
#elif defined(__SSE2__)
  return (V16)_mm_or_si128(_mm_slli_si128((__m128i)v, 2 * kShift), _mm_srli_si128((__m128i)before, 16 - 2 * kShift));
#else
  V16 r;
  for (int i = 0; i < kLanesOf<V16>; ++i) r[i] = i < kShift ? before[kLanesOf<V16> - kShift + i] : v[i - kShift];
  return r;
#endif
}

// The sums of kColumns lanes that end at each lane of `v`, register after register. Sums of 1, 2, 4, 8 lanes by
// doubling; the powers of two in kColumns stand one before the other. `before` keeps the last register of each; call it
// with kSize = 1, kPlaced = 0, sum = 0.
template <int kColumns, int kSize, int kPlaced>
SACCADE_HD V16 ending_sums(V16 (&before)[4], V16 v, V16 sum) {
  constexpr int kPower = __builtin_ctz(kSize), kUsed = kColumns & kSize;
  if constexpr (kUsed != 0) sum += kPlaced == 0 ? v : earlier<kPlaced>(before[kPower], v);
  if constexpr (2 * kSize <= kColumns) {
    const V16 doubled = v + earlier<kSize>(before[kPower], v);
    sum = ending_sums<kColumns, 2 * kSize, kPlaced + kUsed>(before, doubled, sum);
  }
  before[kPower] = v;
  return sum;
}

// By shifts of 64-bit lanes within four lanes, then within the register.
SACCADE_HD V16 prefix_sums(V16 v) {
  V64 s = (V64)v;
  s = (V64)((V16)s + (V16)(s << 16));
  s = (V64)((V16)s + (V16)(s << 32));
  return prefix_groups((V16)s);
}

void difference(const BoxWindowU8& window, const std::uint8_t* SACCADE_RESTRICT plus,
                const std::uint8_t* SACCADE_RESTRICT minus, bool add, std::uint16_t* SACCADE_RESTRICT line) {
  line += 1 + window.columns / 2;
  const std::int64_t width = window.width;
  if (minus != nullptr)
    for (std::int64_t x = 0; x < width; ++x) line[x] = static_cast<std::uint16_t>(plus[x] - minus[x]);
  else if (add)
    for (std::int64_t x = 0; x < width; ++x) line[x] = static_cast<std::uint16_t>(line[x] + plus[x]);
  else
    for (std::int64_t x = 0; x < width; ++x) line[x] = plus[x];
}

// The mirrored continuation of a line beyond its edge, `count` long, to the left (kStep = -1) or right (1): inwards
// from the edge and, where the image is narrower than the window, back again.
template <int kStep>
SACCADE_HD void mirror(std::uint16_t* edge, std::int64_t width, std::int64_t count) {
  if (count < width) {  // in lanes: 0.053 -> 0.050 ms for 31 columns of 512x512
#pragma GCC ivdep
    for (std::int64_t i = 1; i <= count; ++i) edge[kStep * i] = edge[-kStep * i];
    return;
  }
  std::int64_t from = 0, direction = width > 1 ? 1 : 0;
  for (std::int64_t i = 1; i <= count; ++i) {
    from += direction;
    edge[kStep * i] = edge[-kStep * from];
    if (from == 0 || from == width - 1) direction = -direction;
  }
}

// Sums over the differences of kColumns columns; kColumns = 0: `line` holds their prefix sums, line[e] being the sum of
// those before e.
template <bool kWhole, int kColumns>
void move_blocks(const BoxWindowU8& window, const std::uint16_t* SACCADE_RESTRICT line,
                 std::uint16_t* SACCADE_RESTRICT states, std::uint8_t* means, std::uint8_t* out) {
  const std::int64_t columns = window.columns, width = window.width;
  const V16 multiplier = splat<V16>(window.divide.multiplier), area = splat<V16>(window.area);
  const V16 lift = splat<V16>(window.lift);
  const int shift = window.divide.shift;
  [[maybe_unused]] V16 before[4] = {};
  if constexpr (kColumns > 0) ending_sums<kColumns, 1, 0>(before, load<V16>(line + columns - kBlock), V16{});
  for (std::int64_t x = 0; x < width; x += kBlock) {
    V16 state = load<V16>(states + x);
    V8 mean = load<V8>(means + x);
    const auto divided = [&](V16 difference) {
      state += difference;
      V16 quotient = mul_high(state, multiplier) >> shift;
      if constexpr (kWhole) {
        mean = __builtin_convertvector(quotient, V8);
      } else {
        quotient -= lift;
        state -= quotient * area;
        mean += __builtin_convertvector(quotient, V8);
      }
    };
    if constexpr (kColumns > 0) {
      divided(ending_sums<kColumns, 1, 0>(before, load<V16>(line + x + columns), V16{}));
    } else {
      std::int64_t begin = 0;
      for (; begin + window.span < columns; begin += window.span)
        divided(load<V16>(line + x + begin + window.span) - load<V16>(line + x + begin));
      divided(load<V16>(line + x + columns) - load<V16>(line + x + begin));
    }
    store<V16>(states + x, state);
    if constexpr (!kWhole) store<V8>(means + x, mean);
    if (x + kBlock <= width)
      store<V8>(out + x, mean);
    else
      store_partial<V8>(out + x, mean, width - x);
  }
}

using MoveBlocks = void (*)(const BoxWindowU8&, const std::uint16_t*, std::uint16_t*, std::uint8_t*, std::uint8_t*);
#define SACCADE_EIGHT(w)                                                       \
  {move_blocks<w, 1>, move_blocks<w, 2>, move_blocks<w, 3>, move_blocks<w, 4>, \
   move_blocks<w, 5>, move_blocks<w, 6>, move_blocks<w, 7>, move_blocks<w, 8>}
constexpr MoveBlocks kMoveDirect[2][kDirect] = {SACCADE_EIGHT(false), SACCADE_EIGHT(true)};
#undef SACCADE_EIGHT

void move(const BoxWindowU8& window, std::uint16_t* line, std::uint16_t* states, std::uint8_t* means,
          std::uint8_t* out) {
  const std::int64_t columns = window.columns, width = window.width, left = columns / 2;
  std::uint16_t* first = line + 1 + left;
  mirror<-1>(first, width, left);
  mirror<1>(first + width - 1, width, columns - 1 - left);
  if (columns <= kDirect && columns <= window.span)
    return kMoveDirect[window.whole][columns - 1](window, line, states, means, out);
  line[0] = 0;
  V16 before{};
  for (std::int64_t e = 0; e < width + columns; e += kBlock) {
    const V16 sums = prefix_sums(load<V16>(line + e));
    store<V16>(line + e, before + sums);
    before += last_lane(sums);
  }
  window.whole ? move_blocks<true, 0>(window, line, states, means, out)
               : move_blocks<false, 0>(window, line, states, means, out);
}

}  // namespace

const BoxU8Kernels box_u8_kernels = {difference, move};

}  // namespace saccade::SACCADE_ISA
