// roi_align backward: see roi_gather.cuh. Bins of weight zero are skipped, so that a gradient that is not finite stays
// in the cells that its bin touches.
#include "cuda/kernels/roi_align.h"
#include "cuda/kernels/roi_gather.cuh"

namespace saccade::cuda {
namespace {

template <class T>
struct AlignSource {
  const T* grad;

  // Per column of bins: the sum over its rows that touch the warp's row, then to each of the thread's cells.
  template <class A, int kOwn, int kVec>
  __device__ void add(const GatherShape& shape, const GatherBins<A, true>& bins,
                      GatherSums<A, kOwn, kVec>& sums) const {
    const auto& x = bins.staged.x;
    unsigned columns = 0;
    for (int j = 0; j < kOwn; ++j) columns |= x.bins[j];
    const std::int64_t first_bin = (bins.region * shape.pooled_h + bins.first_row) * shape.pooled_w + bins.first_column;
    const T* first = grad + first_bin * shape.channels + bins.channel;
    for (; columns != 0; columns &= columns - 1) {
      const int q = __ffs(static_cast<int>(columns)) - 1;
      A folded[kVec] = {};
      for (unsigned rows = bins.staged.y.bins[bins.row]; rows != 0; rows &= rows - 1) {
        const int p = __ffs(static_cast<int>(rows)) - 1;
        const A weight = bins.staged.y.weight[p][bins.row];
        const Pack<T, kVec> bin = load_pack<kVec>(first + (p * shape.pooled_w + q) * shape.channels);
        for (int v = 0; v < kVec; ++v) folded[v] = fma(weight, A(to_float(bin.value[v])), folded[v]);
      }
#pragma unroll
      for (int j = 0; j < kOwn; ++j) {
        const A weight = x.weight[q][j];
        if (weight == A(0)) continue;
        for (int v = 0; v < kVec; ++v) sums.value[j][v] = fma(weight, folded[v], sums.value[j][v]);
      }
    }
  }

  // The bins of the thread's one cell, in all its planes.
  template <class A, int kVec>
  __device__ void add(const GatherShape& shape, const GatherBins<A, false>& bins, GatherSums<A, 1, kVec>& sums) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const std::int64_t area = shape.pooled_h * shape.pooled_w;
    const T* first = grad + (bins.region * shape.channels + bins.channel) * area + bins.first_row * shape.pooled_w +
                     bins.first_column;
    for (unsigned columns = bins.staged.x.bins[lane]; columns != 0; columns &= columns - 1) {
      const int q = __ffs(static_cast<int>(columns)) - 1;
      for (unsigned rows = bins.staged.y.bins[bins.row]; rows != 0; rows &= rows - 1) {
        const int p = __ffs(static_cast<int>(rows)) - 1;
        const A weight = bins.staged.y.weight[p][bins.row] * bins.staged.x.weight[q][lane];
        const T* bin = first + p * shape.pooled_w + q;
#pragma unroll
        for (int v = 0; v < kVec; ++v)
          if (bins.channel + v < shape.channels)
            sums.value[0][v] = fma(weight, A(to_float(bin[v * area])), sums.value[0][v]);
      }
    }
  }
};

}  // namespace

template <class T, class A>
void launch_roi_align_backward(const T* grad, const RoiGeometry& geometry, std::int64_t channels, bool channels_last,
                               const Region<A>* regions, const std::int32_t* order, const std::int32_t* map_begin,
                               const RoiMaps<T>& grad_maps, cudaStream_t stream) {
  for (int l = 0; l < geometry.levels; ++l) {
    const GatherShape shape = {geometry.kind,       geometry.images,   channels,
                               geometry.pooled_h,   geometry.pooled_w, geometry.level[l].h,
                               geometry.level[l].w, geometry.levels,   l};
    const bool packed = made_of_packs<T>(sizeof(T) * kGatherPack<T>, channels, grad, grad_maps.data[l]);
    launch_gather(AlignSource<T>{grad}, shape, channels_last, packed, regions, order, map_begin, grad_maps.data[l],
                  stream);
  }
}

#define SACCADE_INSTANTIATE(T, A)                                                                                   \
  template void launch_roi_align_backward<T, A>(const T*, const RoiGeometry&, std::int64_t, bool, const Region<A>*, \
                                                const std::int32_t*, const std::int32_t*, const RoiMaps<T>&,        \
                                                cudaStream_t);
SACCADE_INSTANTIATE(Float16, float)
SACCADE_INSTANTIATE(BFloat16, float)
SACCADE_INSTANTIATE(float, float)
SACCADE_INSTANTIATE(double, double)
#undef SACCADE_INSTANTIATE

}  // namespace saccade::cuda
