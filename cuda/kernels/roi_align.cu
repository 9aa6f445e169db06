// roi_align forward: a bin is the sum over its rows of the sum over its columns (the taps of roi.cu).
//
// A thread owns one bin of one region for kVec channels. channels_last: neighbouring threads own neighbouring channels,
// read 16 bytes each, and share the taps, which they fetch as one broadcast. NCHW: neighbouring threads own
// neighbouring bins, whose cells lie side by side in a row, and a tap serves four planes. Floor: the outputs once and
// the map once; for 1,000 regions of 256 channels and 7 x 7 bins on 200 x 272 cells 50 + 56 MB, 22 us at 4.8 TB/s. With
// two samples per axis a bin reads 16 cells, 0.8 GB from L1 and L2: some 100 us.
#include "cuda/common/pack.cuh"
#include "cuda/kernels/roi.cuh"
#include "cuda/kernels/roi_align.h"

namespace saccade::cuda {
namespace {

template <class T, class A, int kVec, bool kLast>
__global__ void __launch_bounds__(kRoiThreads)
    roi_align_kernel(const __grid_constant__ RoiMaps<const T> maps, const __grid_constant__ RoiGeometry geometry,
                     BinShape shape, TapLayout layout, const Region<A>* regions, const std::int32_t* begins,
                     const Tap<A>* taps, T* out) {
  BinItem item;
  if (!bin_item<kVec, kLast>(shape, item)) return;
  const auto [k, p, q, bin, channel, planes] = item;
  A sum[kVec] = {};
  const std::int64_t map = regions[k].map;
  if (map >= 0) {
    const std::int64_t h = geometry.level[map % geometry.levels].h, w = geometry.level[map % geometry.levels].w;
    const std::int64_t first = map / geometry.levels * shape.channels * h * w;
    const T* data = maps.data[map % geometry.levels] + first + (kLast ? channel : channel * h * w);
    begins += k * (shape.pooled_h + shape.pooled_w + 2);
    const Tap<A>* row_taps = taps + k * layout.stride();
    const Tap<A>* column_taps = row_taps + layout.row_capacity;
    const int row_end = begins[p + 1];
    const int column_begin = begins[shape.pooled_h + 1 + q], column_end = begins[shape.pooled_h + 2 + q];
    for (int i = begins[p]; i < row_end; ++i) {
      const Tap<A> row = row_taps[i];
      const std::int64_t row_first = row.cell * w;
      A along[kVec] = {};
      for (int j = column_begin; j < column_end; ++j) {
        const Tap<A> column = column_taps[j];
        if constexpr (kLast) {
          const Pack<T, kVec> cell = load_pack<kVec>(data + (row_first + column.cell) * shape.channels);
          for (int v = 0; v < kVec; ++v) along[v] = fma(column.weight, A(to_float(cell.value[v])), along[v]);
        } else {
          const T* cell = data + row_first + column.cell;
#pragma unroll
          for (int v = 0; v < kVec; ++v)
            if (v < planes) along[v] = fma(column.weight, A(to_float(cell[v * h * w])), along[v]);
        }
      }
      for (int v = 0; v < kVec; ++v) sum[v] = fma(row.weight, along[v], sum[v]);
    }
  }
  if constexpr (kLast) {
    Pack<T, kVec> result;
    for (int v = 0; v < kVec; ++v) result.value[v] = from_float<T>(sum[v]);
    store_pack(out + bin_offset<true>(shape, item), result);
  } else {
#pragma unroll
    for (int v = 0; v < kVec; ++v)
      if (v < planes) out[bin_offset<false>(shape, item) + v * shape.bins()] = from_float<T>(sum[v]);
  }
}

template <class T, class A, int kVec, bool kLast>
void launch_forward(const RoiMaps<const T>& maps, const RoiGeometry& geometry, std::int64_t channels,
                    const Region<A>* regions, std::int64_t count, const std::int32_t* begins, const Tap<A>* taps,
                    T* out, cudaStream_t stream) {
  const BinShape shape = bin_shape(channels, geometry.pooled_h, geometry.pooled_w, kVec);
  launch({blocks_for(count * shape.blocks, 1), kRoiThreads, stream}, roi_align_kernel<T, A, kVec, kLast>, maps,
         geometry, shape, tap_layout(geometry), regions, begins, taps, out);
}

}  // namespace

template <class T, class A>
void launch_roi_align(const RoiMaps<const T>& maps, const RoiGeometry& geometry, std::int64_t channels,
                      bool channels_last, const Region<A>* regions, std::int64_t count, const std::int32_t* begins,
                      const Tap<A>* taps, T* out, cudaStream_t stream) {
  constexpr int kBytes = 16;
  bool packed = made_of_packs<T>(kBytes, channels, out);
  for (int l = 0; l < geometry.levels; ++l) packed = packed && made_of_packs<T>(kBytes, channels, maps.data[l]);
  const auto run = !channels_last ? launch_forward<T, A, kPlanes, false>
                   : packed       ? launch_forward<T, A, kBytes / sizeof(T), true>
                                  : launch_forward<T, A, 1, true>;
  run(maps, geometry, channels, regions, count, begins, taps, out, stream);
}

#define SACCADE_INSTANTIATE(T, A)                                                                              \
  template void launch_roi_align<T, A>(const RoiMaps<const T>&, const RoiGeometry&, std::int64_t, bool,        \
                                       const Region<A>*, std::int64_t, const std::int32_t*, const Tap<A>*, T*, \
                                       cudaStream_t);
SACCADE_INSTANTIATE(Float16, float)
SACCADE_INSTANTIATE(BFloat16, float)
SACCADE_INSTANTIATE(float, float)
SACCADE_INSTANTIATE(double, double)
#undef SACCADE_INSTANTIATE

}  // namespace saccade::cuda
