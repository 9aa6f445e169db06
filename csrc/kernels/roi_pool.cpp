// The maximum over a bin and where it is, eight registers of channels at a time, for a comparison waits for the blend
// before it: per cell a load, a comparison and two blends. A bin of 4.6 x 4.6 cells, 49 bins, 256 channels, 1,000
// regions: 17 M cells of 16 lanes, about 12 ms at 2 GHz.
#include "kernels/roi_pool.h"

#include "kernels/streams.h"

namespace saccade::SACCADE_ISA {
namespace {

template <bool Whole, int N>
SACCADE_HD void store_argmax(std::int32_t* p, Vec<std::int32_t, N> v, std::int64_t n) {
  if constexpr (Whole) return store(p, v);
  for (std::int64_t i = 0; i < n; ++i) p[i] = v[i];
}

SACCADE_HD bool any_negative(Vec<std::int32_t, 16> v) {
  constexpr int kN = kLanes<std::int32_t>;
  Vec<std::int32_t> part[16 / kN], all = {};
  std::memcpy(part, &v, sizeof(v));
  for (int i = 0; i < 16 / kN; ++i) all |= part[i];
  return any(all < 0);
}

template <class T>
SACCADE_HD void prefetch_span(const T* p, std::int64_t count) {
  const char* bytes = reinterpret_cast<const char*>(p);
  const std::int64_t size = count * static_cast<std::int64_t>(sizeof(T));
  for (std::int64_t i = 0; i < size; i += 64) __builtin_prefetch(bytes + i, 0, 2);
}

// One bin, Registers * lanes channels; rows [y0, y1) and columns [x0, x1) are its cells.
template <class T, int Registers, bool Whole>
SACCADE_HD void bin_maximum(const MapBlock<const T>& map, const RoiBins& bins, std::int64_t p, std::int64_t q,
                            std::int64_t lanes, T* out, std::int32_t* argmax) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  using I = Vec<Index<A>>;
  constexpr int kN = kLanes<A>;
  const std::int32_t y0 = bins.rows[2 * p], y1 = bins.rows[2 * p + 1];
  const std::int32_t x0 = bins.columns[2 * q], x1 = bins.columns[2 * q + 1];
  // torchvision's start value, in float64 too: a bin of nothing but NaN or -inf keeps it.
  const A start = y0 >= y1 || x0 >= x1 ? A(0) : A(-3.402823466e+38f);
  V best[Registers];
  I where[Registers];
  for (int r = 0; r < Registers; ++r) best[r] = splat<V>(start), where[r] = I{} - 1;
  for (std::int32_t y = y0; y < y1; ++y) {
    const T* row = map.data + (y - map.first_row) * map.row_stride;
    for (std::int32_t x = x0; x < x1; ++x) {
      const T* cell = row + (x - map.first_column) * map.cell_stride;
      const I here = I{} + static_cast<Index<A>>(y * bins.map_w + x);
      for (int r = 0; r < Registers; ++r) {
        const V value = load_lanes<A, Whole>(cell + r * kN, lanes);
        const auto larger = value > best[r];
        best[r] = larger ? value : best[r];
        where[r] = larger ? here : where[r];
      }
    }
  }
  if constexpr (Whole && std::is_same_v<T, float>) {
    if (bins.streamed) {
      for (int r = 0; r < Registers; ++r) stream(out + r * kN, best[r]), stream(argmax + r * kN, where[r]);
      return;
    }
  }
  for (int r = 0; r < Registers; ++r) {
    store_lanes<A, Whole>(out + r * kN, best[r], lanes);
    store_argmax<Whole, kN>(argmax + r * kN, __builtin_convertvector(where[r], Vec<std::int32_t, kN>), lanes);
  }
}

// Bins outside, channels inside: a bin's cells are whole lines of the cache, and those of a bin fit L1.
template <class T>
void forward(const MapBlock<const T>& map, const RoiBins& bins, std::int64_t channels, T* out, std::int32_t* argmax,
             std::int64_t bin_stride) {
  for (std::int64_t p = 0; p < bins.pooled_h; ++p)
    for (std::int64_t q = 0; q < bins.pooled_w; ++q, out += bin_stride, argmax += bin_stride)
      each_channel_group<Accumulator<T>, 8>(
          channels, [&](std::int64_t c, auto registers, auto whole, std::int64_t lanes) {
            MapBlock<const T> from = map;
            from.data += c;
            bin_maximum<T, registers(), whole()>(from, bins, p, q, lanes, out + c, argmax + c);
          });
  if (bins.streamed) stream_fence();
}

// One element after the other: AVX-512's scatter handles 16 lanes in more cycles than 16 scalar additions take.
template <class T>
SACCADE_HD void add_lanes(const T* grad, const std::int32_t* argmax, std::int64_t count, Accumulator<T>* grad_map,
                          std::int64_t channels, std::int64_t first_cell, std::int64_t cells) {
  for (std::int64_t c = 0; c < count; ++c) {
    const std::int64_t cell = argmax[c] - first_cell;
    if (argmax[c] >= 0 && cell >= 0 && cell < cells) grad_map[cell * channels + c] += to_float(grad[c]);
  }
}

// The addresses of kN channels are computed together, and one test serves all of them. The next bin is fetched
// meanwhile: bins lie anywhere in memory, too short for the hardware to follow. 1,000 regions of 7 x 7 bins on 256
// channels: 15 ms of 24, about what L2 takes to move a line in and out for nearly every element.
template <class T>
void backward(const RoiPoolGradient<T>& from, const RoiPoolGradient<T>& next, std::int64_t channels,
              Accumulator<T>* grad_map, std::int64_t first_cell, std::int64_t cells) {
  constexpr int kN = 16;
  using I = Vec<std::int32_t, kN>;
  prefetch_span(next.grad, channels);
  prefetch_span(next.argmax, channels);
  std::int64_t c = 0;
  if (cells * channels <= std::int64_t{0x7fffffff}) {
    const I first = I{} + static_cast<std::int32_t>(first_cell), last = I{} + static_cast<std::int32_t>(cells - 1);
    for (; c + kN <= channels; c += kN) {
      const I cell = load<I>(from.argmax + c) - first;
      // -1 less a first cell is negative too.
      if (__builtin_expect(any_negative(cell | (last - cell)), 0)) {
        add_lanes(from.grad + c, from.argmax + c, kN, grad_map + c, channels, first_cell, cells);
        continue;
      }
      std::int32_t offset[kN];
      store(offset, cell * static_cast<std::int32_t>(channels) + iota<I>());
#pragma GCC unroll 16
      for (int i = 0; i < kN; ++i) grad_map[c + offset[i]] += to_float(from.grad[c + i]);
    }
  }
  add_lanes(from.grad + c, from.argmax + c, channels - c, grad_map + c, channels, first_cell, cells);
}

template <class T>
void backward_planes(const RoiPoolGradient<T>& from, const RoiPoolGradient<T>& next, std::int64_t bins,
                     std::int64_t channels, Accumulator<T>* grad_map, std::int64_t plane_stride) {
  prefetch_span(next.grad, bins * channels);
  prefetch_span(next.argmax, bins * channels);
  const T* grad = from.grad;
  const std::int32_t* argmax = from.argmax;
  for (std::int64_t c = 0; c < channels; ++c, grad += bins, argmax += bins, grad_map += plane_stride) {
#pragma GCC unroll 7
    for (std::int64_t b = 0; b < bins; ++b)
      if (argmax[b] >= 0) grad_map[argmax[b]] += to_float(grad[b]);
  }
}

}  // namespace

const RoiPoolKernels roi_pool_kernels = {
    {forward<Float16>, backward<Float16>, backward_planes<Float16>},
    {forward<BFloat16>, backward<BFloat16>, backward_planes<BFloat16>},
    {forward<float>, backward<float>, backward_planes<float>},
    {forward<double>, backward<double>, backward_planes<double>},
};

}  // namespace saccade::SACCADE_ISA
