// A square of lanes x lanes elements at a time, transposed in registers: log2(lanes) stages that exchange halves
// between pairs of registers. Per square of 16: 16 loads, 64 shuffles, 16 stores, so the shuffle port bounds it at 16
// bytes per cycle, above what one core reads from memory.
#include "kernels/channel_block.h"

#include "kernels/streams.h"

namespace saccade::SACCADE_ISA {
namespace {

// One exchange at distance D: rows a, b become (even D-blocks of a and b interleaved), (odd ones).
template <int D, class V, int... I>
SACCADE_HD void exchange(V& a, V& b, std::integer_sequence<int, I...>) {
  constexpr int kN = kLanesOf<V>;
  const V low = __builtin_shufflevector(a, b, ((I & D) == 0 ? I : I - D + kN)...);
  const V high = __builtin_shufflevector(a, b, ((I & D) == 0 ? I + D : I + kN)...);
  a = low;
  b = high;
}

template <int D, class V>
SACCADE_HD void transpose_stage(V* rows) {
  constexpr int kN = kLanesOf<V>;
#pragma GCC unroll 16
  for (int i = 0; i < kN; ++i)
    if ((i & D) == 0) exchange<D>(rows[i], rows[i + D], std::make_integer_sequence<int, kN>{});
}

template <class V>
SACCADE_HD void transpose(V* rows) {
  constexpr int kN = kLanesOf<V>;
  if constexpr (kN > 8) transpose_stage<8>(rows);
  if constexpr (kN > 4) transpose_stage<4>(rows);
  if constexpr (kN > 2) transpose_stage<2>(rows);
  transpose_stage<1>(rows);
}

// `count` cells from `planes` on; Whole promises a register of them.
template <class T, bool Whole>
SACCADE_HD void pack_cells(const T* planes, std::int64_t plane_stride, std::int64_t channels, std::int64_t count,
                           Accumulator<T>* out, std::int64_t cell_stride) {
  using A = Accumulator<T>;
  constexpr int kN = kLanes<A>;
  std::int64_t c = 0;
  for (; c + kN <= channels; c += kN) {
    Vec<A> rows[kN];
#pragma GCC unroll 16
    for (int i = 0; i < kN; ++i) {
      const T* plane = planes + (c + i) * plane_stride;
      rows[i] = load_lanes<A, Whole>(plane, count);
      // One line per plane and 16 planes at once are more streams than the hardware follows: 9.2 -> 5.9 ms for 55 MB.
      __builtin_prefetch(plane + 4 * kN);
    }
    transpose(rows);
#pragma GCC unroll 16
    for (int i = 0; i < kN; ++i)
      if (Whole || i < count) store(out + i * cell_stride + c, rows[i]);
  }
  for (; c < channels; ++c)
    for (std::int64_t i = 0; i < count; ++i) out[i * cell_stride + c] = to_float(planes[c * plane_stride + i]);
}

template <class T>
void pack(const T* planes, std::int64_t plane_stride, std::int64_t channels, std::int64_t cells, Accumulator<T>* out,
          std::int64_t cell_stride) {
  constexpr int kN = kLanes<Accumulator<T>>;
  std::int64_t j = 0;
  for (; j + kN <= cells; j += kN)
    pack_cells<T, true>(planes + j, plane_stride, channels, kN, out + j * cell_stride, cell_stride);
  if (j < cells)
    pack_cells<T, false>(planes + j, plane_stride, channels, cells - j, out + j * cell_stride, cell_stride);
}

template <class T>
void unpack(const Accumulator<T>* in, std::int64_t cell_stride, std::int64_t channels, std::int64_t cells, T* planes,
            std::int64_t plane_stride) {
  using A = Accumulator<T>;
  constexpr int kN = kLanes<A>;
  std::int64_t c = 0;
  for (; c + kN <= channels; c += kN) {
    for (std::int64_t j = 0; j < cells; j += kN) {
      const std::int64_t count = cells - j < kN ? cells - j : kN;
      Vec<A> rows[kN];
#pragma GCC unroll 16
      for (int i = 0; i < kN; ++i) rows[i] = i < count ? load<Vec<A>>(in + (j + i) * cell_stride + c) : Vec<A>{};
      transpose(rows);
#pragma GCC unroll 16
      for (int i = 0; i < kN; ++i) {
        T* plane = planes + (c + i) * plane_stride + j;
        if (count == kN) {
          store_lanes<A, true>(plane, rows[i], kN);
        } else {
          store_lanes<A, false>(plane, rows[i], count);
        }
      }
    }
  }
  for (; c < channels; ++c)
    for (std::int64_t j = 0; j < cells; ++j) planes[c * plane_stride + j] = from_float<T>(in[j * cell_stride + c]);
}

// Loads, one per line, and not prefetches: the hardware follows loads in a row, at 36 GB/s on one core where bins that
// touched their lines at random, the next plane's prefetched meanwhile, reached 11 GB/s.
template <class T>
void fetch(const T* p, std::int64_t count) {
  constexpr std::int64_t kLine = 64 / sizeof(T);
  for (std::int64_t i = 0; i < count; i += kLine)
    static_cast<void>(*reinterpret_cast<const volatile unsigned char*>(p + i));
}

void copy_past_caches(const void* from, void* to, std::int64_t bytes) {
  using V = Vec<std::uint8_t>;
  const auto* source = static_cast<const std::uint8_t*>(from);
  auto* target = static_cast<std::uint8_t*>(to);
  for (std::int64_t i = 0; i < bytes; i += kLanes<std::uint8_t>) stream(target + i, load<V>(source + i));
  stream_fence();
}

}  // namespace

const ChannelBlockKernels channel_block_kernels = {
    {pack<Float16>, unpack<Float16>, fetch<Float16>},
    {pack<BFloat16>, unpack<BFloat16>, fetch<BFloat16>},
    {pack<float>, unpack<float>, fetch<float>},
    {pack<double>, unpack<double>, fetch<double>},
    copy_past_caches,
};

}  // namespace saccade::SACCADE_ISA
