// roi_pool. Forward: a thread owns one bin of one region for kVec channels (bin_item) and reads the bin's cells, each
// once, in row order: the first of equal maxima wins. Backward: see roi_gather.cuh; a cell takes the gradient of the
// bins whose argmax names it, so that each is read once for every row of cells that its bin touches. Floor for 1,000
// regions of 256 channels and 7 x 7 bins on 200 x 272 cells: 100 MB of results and 56 MB of map, 33 us at 4.8 TB/s; the
// bins' 0.2 G cells are 0.8 GB from L1 and L2.
#include "cuda/kernels/roi_gather.cuh"
#include "cuda/kernels/roi_pool.h"

namespace saccade::cuda {
namespace {

template <class T, class A, int kVec, bool kLast>
__global__ void __launch_bounds__(kRoiThreads)
    roi_pool_kernel(const T* input, BinShape shape, std::int64_t h, std::int64_t w, const Region<A>* regions, T* out,
                    std::int32_t* argmax) {
  BinItem item;
  if (!bin_item<kVec, kLast>(shape, item)) return;
  A best[kVec] = {};
  std::int32_t where[kVec];
  for (int v = 0; v < kVec; ++v) where[v] = -1;
  const Region<A>& region = regions[item.region];
  if (region.map >= 0) {
    const CellRange rows = cell_range(region.y.cells, item.p, h), columns = cell_range(region.x.cells, item.q, w);
    // torchvision's start value, in float64 too: a bin of nothing but NaN or -inf keeps it.
    const bool empty = rows.first >= rows.end || columns.first >= columns.end;
    for (int v = 0; v < kVec; ++v) best[v] = empty ? A(0) : A(-3.402823466e+38f);
    const T* data = input + region.map * shape.channels * h * w + (kLast ? item.channel : item.channel * h * w);
    for (std::int64_t y = rows.first; y < rows.end; ++y) {
      for (std::int64_t x = columns.first; x < columns.end; ++x) {
        const std::int64_t cell = y * w + x;
        Pack<T, kVec> value;
        if constexpr (kLast) {
          value = load_pack<kVec>(data + cell * shape.channels);
        } else {
#pragma unroll
          for (int v = 0; v < kVec; ++v) value.value[v] = data[cell + (v < item.planes ? v : 0) * h * w];
        }
        for (int v = 0; v < kVec; ++v) {
          const A candidate = to_float(value.value[v]);
          if (!(candidate > best[v])) continue;
          best[v] = candidate;
          where[v] = static_cast<std::int32_t>(cell);
        }
      }
    }
  }
  const std::int64_t at = bin_offset<kLast>(shape, item);
  if constexpr (kLast) {
    Pack<T, kVec> value;
    for (int v = 0; v < kVec; ++v) value.value[v] = from_float<T>(best[v]);
    store_pack(out + at, value);
    for (int v = 0; v < kVec; ++v) argmax[at + v] = where[v];
  } else {
#pragma unroll
    for (int v = 0; v < kVec; ++v) {
      if (v >= item.planes) break;
      out[at + v * shape.bins()] = from_float<T>(best[v]);
      argmax[at + v * shape.bins()] = where[v];
    }
  }
}

template <class T, class A, int kVec, bool kLast>
void launch_forward(const T* input, const RoiGeometry& geometry, std::int64_t channels, const Region<A>* regions,
                    std::int64_t count, T* out, std::int32_t* argmax, cudaStream_t stream) {
  const BinShape shape = bin_shape(channels, geometry.pooled_h, geometry.pooled_w, kVec);
  launch({blocks_for(count * shape.blocks, 1), kRoiThreads, stream}, roi_pool_kernel<T, A, kVec, kLast>, input, shape,
         geometry.level[0].h, geometry.level[0].w, regions, out, argmax);
}

template <class T>
struct MaximumSource {
  const T* grad;
  const std::int32_t* argmax;

  template <class A, int kOwn, int kVec>
  __device__ void add(const GatherShape& shape, const GatherBins<A, true>& bins,
                      GatherSums<A, kOwn, kVec>& sums) const {
    unsigned columns = 0;
    for (int j = 0; j < kOwn; ++j) columns |= bins.staged.x.bins[j];
    const std::int64_t first_bin = (bins.region * shape.pooled_h + bins.first_row) * shape.pooled_w + bins.first_column;
    for (; columns != 0; columns &= columns - 1) {
      const int q = __ffs(static_cast<int>(columns)) - 1;
      for (unsigned rows = bins.staged.y.bins[bins.row]; rows != 0; rows &= rows - 1) {
        const int p = __ffs(static_cast<int>(rows)) - 1;
        const std::int64_t at = (first_bin + p * shape.pooled_w + q) * shape.channels + bins.channel;
        const Pack<std::int32_t, kVec> where = load_pack<kVec>(argmax + at);
        const Pack<T, kVec> value = load_pack<kVec>(grad + at);
        for (int v = 0; v < kVec; ++v) {
          const std::int64_t cell = where.value[v] - bins.first_cell;
#pragma unroll
          for (int j = 0; j < kOwn; ++j)
            if (cell == j) sums.value[j][v] += to_float(value.value[v]);
        }
      }
    }
  }

  template <class A, int kVec>
  __device__ void add(const GatherShape& shape, const GatherBins<A, false>& bins, GatherSums<A, 1, kVec>& sums) const {
    const std::int64_t area = shape.pooled_h * shape.pooled_w;
    const std::int64_t first =
        (bins.region * shape.channels + bins.channel) * area + bins.first_row * shape.pooled_w + bins.first_column;
    for (unsigned columns = bins.staged.x.bins[threadIdx.x % kWarp]; columns != 0; columns &= columns - 1) {
      const int q = __ffs(static_cast<int>(columns)) - 1;
      for (unsigned rows = bins.staged.y.bins[bins.row]; rows != 0; rows &= rows - 1) {
        const int p = __ffs(static_cast<int>(rows)) - 1;
        const std::int64_t at = first + p * shape.pooled_w + q;
#pragma unroll
        for (int v = 0; v < kVec; ++v) {
          if (bins.channel + v < shape.channels && argmax[at + v * area] == bins.first_cell)
            sums.value[0][v] += to_float(grad[at + v * area]);
        }
      }
    }
  }
};

}  // namespace

template <class T, class A>
void launch_roi_pool(const T* input, const RoiGeometry& geometry, std::int64_t channels, bool channels_last,
                     const Region<A>* regions, std::int64_t count, T* out, std::int32_t* argmax, cudaStream_t stream) {
  constexpr int kBytes = 16;
  const auto run = !channels_last                                   ? launch_forward<T, A, kPlanes, false>
                   : made_of_packs<T>(kBytes, channels, input, out) ? launch_forward<T, A, kBytes / sizeof(T), true>
                                                                    : launch_forward<T, A, 1, true>;
  run(input, geometry, channels, regions, count, out, argmax, stream);
}

template <class T, class A>
void launch_roi_pool_backward(const T* grad, const std::int32_t* argmax, const RoiGeometry& geometry,
                              std::int64_t channels, bool channels_last, const Region<A>* regions,
                              const std::int32_t* order, const std::int32_t* map_begin, T* grad_input,
                              cudaStream_t stream) {
  const GatherShape shape = {geometry.kind,
                             geometry.images,
                             channels,
                             geometry.pooled_h,
                             geometry.pooled_w,
                             geometry.level[0].h,
                             geometry.level[0].w,
                             1,
                             0};
  constexpr int kPack = kGatherPack<T>;
  const bool packed = made_of_packs<T>(sizeof(T) * kPack, channels, grad, grad_input) &&
                      made_of_packs<std::int32_t>(sizeof(std::int32_t) * kPack, channels, argmax);
  launch_gather(MaximumSource<T>{grad, argmax}, shape, channels_last, packed, regions, order, map_begin, grad_input,
                stream);
}

#define SACCADE_INSTANTIATE(T, A)                                                                                     \
  template void launch_roi_pool<T, A>(const T*, const RoiGeometry&, std::int64_t, bool, const Region<A>*,             \
                                      std::int64_t, T*, std::int32_t*, cudaStream_t);                                 \
  template void launch_roi_pool_backward<T, A>(const T*, const std::int32_t*, const RoiGeometry&, std::int64_t, bool, \
                                               const Region<A>*, const std::int32_t*, const std::int32_t*, T*,        \
                                               cudaStream_t);
SACCADE_INSTANTIATE(Float16, float)
SACCADE_INSTANTIATE(BFloat16, float)
SACCADE_INSTANTIATE(float, float)
SACCADE_INSTANTIATE(double, double)
#undef SACCADE_INSTANTIATE

}  // namespace saccade::cuda
