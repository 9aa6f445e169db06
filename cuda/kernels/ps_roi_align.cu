// ps_roi_align and ps_roi_pool. Each element of an output reads a plane of its own, a few cells of it.
//
// Forward: a thread owns one element. Neighbours share a bin's taps where channels are innermost, and otherwise are
// bins of one row. Backward: a block owns a tile of 16 x 32 cells of eight planes, those of one bin in eight output
// channels; a warp has one plane, a lane one column of it, in registers. Of 256 regions at a time the block lists those
// whose bin touches the tile, weighs the bin's rows and columns for up to 32 of them, a region per lane, and each warp
// adds them in the order of their numbers. Weights of zero are skipped, so that a gradient that is not finite stays in
// the cells of its bin. Floor: R-FCN's map (21 * 49 planes of 38 x 63) is 10 MB and stays in L2; per region a plane
// gains some 16 cells, which is the work of one instruction of a warp and its 60 around it: for 1,000 regions some 90
// us.
#include "cuda/kernels/ps_roi_align.h"
#include "cuda/kernels/roi.cuh"
#include "math/half.h"

namespace saccade::cuda {
namespace {

constexpr int kTileRows = 16, kTileColumns = kWarp, kBatch = kWarp;

struct PsShape {
  BinKind kind;
  std::int64_t images, channels, pooled_h, pooled_w, h, w;
};

// Where element (y, x) of a plane is in a map.
template <bool kLast>
__device__ std::int64_t map_offset(const PsShape& shape, std::int64_t image, std::int64_t plane, std::int64_t y,
                                   std::int64_t x) {
  const std::int64_t planes = shape.channels * shape.pooled_h * shape.pooled_w;
  return kLast ? ((image * shape.h + y) * shape.w + x) * planes + plane
               : ((image * planes + plane) * shape.h + y) * shape.w + x;
}

template <class T, class A, bool kLast>
__global__ void __launch_bounds__(kRoiThreads)
    ps_roi_kernel(const T* input, PsShape shape, BinShape bins, TapLayout layout, const Region<A>* regions,
                  const std::int32_t* begins, const Tap<A>* taps, T* out) {
  BinItem item;
  if (!bin_item<1, kLast>(bins, item)) return;
  A sum = A(0);
  const std::int64_t image = regions[item.region].map;
  if (image >= 0) {
    begins += item.region * (shape.pooled_h + shape.pooled_w + 2);
    const Tap<A>* row_taps = taps + item.region * layout.stride();
    const Tap<A>* column_taps = row_taps + layout.row_capacity;
    const T* plane = input + map_offset<kLast>(shape, image, item.channel * bins.bins() + item.bin, 0, 0);
    const std::int64_t step = kLast ? shape.channels * bins.bins() : 1;
    const int row_end = begins[item.p + 1];
    const int column_begin = begins[shape.pooled_h + 1 + item.q], column_end = begins[shape.pooled_h + 2 + item.q];
    for (int i = begins[item.p]; i < row_end; ++i) {
      const Tap<A> row = row_taps[i];
      A along = A(0);
      for (int j = column_begin; j < column_end; ++j) {
        const Tap<A> column = column_taps[j];
        along = fma(column.weight, A(to_float(plane[(row.cell * shape.w + column.cell) * step])), along);
      }
      sum = fma(row.weight, along, sum);
    }
  }
  out[bin_offset<kLast>(bins, item)] = from_float<T>(sum);
}

template <class A>
struct PsShared {
  int warp_counts[kRoiWarps];
  std::int32_t hits[kRoiThreads];
  A row_weight[kBatch][kTileRows + 1], column_weight[kBatch][kTileColumns + 1];
};

// By one warp, a region per lane: the weights of bin p against kCells cells from `low`.
template <class A, int kStride>
__device__ void weigh_bin(const RegionAxis<A>& axis, BinKind kind, std::int64_t p, std::int64_t length,
                          std::int64_t low, A (&weight)[kStride]) {
  constexpr int kCells = kStride - 1;
  for (int j = 0; j < kCells; ++j) weight[j] = A(0);
  add_weights(axis, kind, p, length, low, low + kCells < length ? low + kCells : length, weight);
}

template <class T, class A, bool kLast>
__global__ void __launch_bounds__(kRoiThreads, 2)
    ps_roi_backward_kernel(const T* grad, PsShape shape, const Region<A>* regions, const std::int32_t* order,
                           const std::int32_t* map_begin, T* grad_input) {
  SACCADE_SHARED(PsShared<A>, shared);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
  const std::int64_t bins = shape.pooled_h * shape.pooled_w;
  std::int64_t rest = blockIdx.x;
  const auto take = [&rest](std::int64_t count) {
    const std::int64_t index = rest % count;
    rest /= count;
    return index;
  };
  const std::int64_t bin = take(bins), p = bin / shape.pooled_w, q = bin % shape.pooled_w;
  const std::int64_t channel = take((shape.channels + kRoiWarps - 1) / kRoiWarps) * kRoiWarps + warp;
  const std::int64_t first_x = take((shape.w + kTileColumns - 1) / kTileColumns) * kTileColumns;
  const std::int64_t first_y = take((shape.h + kTileRows - 1) / kTileRows) * kTileRows, image = rest;
  const bool works = channel < shape.channels;
  A sum[kTileRows] = {};
  const std::int32_t end = map_begin[image + 1];
  for (std::int32_t first = map_begin[image]; first < end; first += kRoiThreads) {
    std::int32_t k = 0;
    bool touches = false;
    if (first + thread < end) {
      k = order[first + thread];
      const Reach rows = reach_of(regions[k].y, shape.kind, p, p + 1, shape.h);
      const Reach columns = reach_of(regions[k].x, shape.kind, q, q + 1, shape.w);
      touches = rows.first < first_y + kTileRows && rows.end > first_y && columns.first < first_x + kTileColumns &&
                columns.end > first_x && rows.first < rows.end && columns.first < columns.end;
    }
    const Place place = place_of(touches, shared.warp_counts);
    if (touches) shared.hits[place.index] = k;
    __syncthreads();
    for (int hit = 0; hit < place.count; hit += kBatch) {
      const int batch = place.count - hit < kBatch ? place.count - hit : kBatch;
      const bool mine = lane < batch;
      const std::int64_t region = mine ? shared.hits[hit + lane] : 0;
      if (mine && warp == 0) weigh_bin(regions[region].y, shape.kind, p, shape.h, first_y, shared.row_weight[lane]);
      if (mine && warp == 1) weigh_bin(regions[region].x, shape.kind, q, shape.w, first_x, shared.column_weight[lane]);
      A value = A(0);
      if (mine && works)
        value = to_float(grad[kLast ? (region * bins + bin) * shape.channels + channel
                                    : (region * shape.channels + channel) * bins + bin]);
      __syncthreads();
      for (int i = 0; i < batch; ++i) {
        const A share = __shfl_sync(kAllLanes, value, i);
        const A column = shared.column_weight[i][lane];
#pragma unroll
        for (int j = 0; j < kTileRows; ++j) {
          const A row = shared.row_weight[i][j];
          if (row != A(0) && column != A(0)) sum[j] = fma(column, row * share, sum[j]);
        }
      }
      __syncthreads();
    }
  }
  if (!works || first_x + lane >= shape.w) return;
  T* column = grad_input + map_offset<kLast>(shape, image, channel * bins + bin, first_y, first_x + lane);
  const std::int64_t step = (kLast ? shape.channels * bins : 1) * shape.w;
#pragma unroll
  for (int j = 0; j < kTileRows; ++j)
    if (first_y + j < shape.h) column[j * step] = from_float<T>(sum[j]);
}

PsShape ps_shape(const RoiGeometry& geometry, std::int64_t channels) {
  return {geometry.kind,     geometry.images,     channels,           geometry.pooled_h,
          geometry.pooled_w, geometry.level[0].h, geometry.level[0].w};
}

}  // namespace

template <class T, class A>
void launch_ps_roi(const T* input, const RoiGeometry& geometry, std::int64_t channels, bool channels_last,
                   const Region<A>* regions, std::int64_t count, const std::int32_t* begins, const Tap<A>* taps, T* out,
                   cudaStream_t stream) {
  const BinShape bins = bin_shape(channels, geometry.pooled_h, geometry.pooled_w, 1);
  launch({blocks_for(count * bins.blocks, 1), kRoiThreads, stream},
         channels_last ? ps_roi_kernel<T, A, true> : ps_roi_kernel<T, A, false>, input, ps_shape(geometry, channels),
         bins, tap_layout(geometry), regions, begins, taps, out);
}

template <class T, class A>
void launch_ps_roi_backward(const T* grad, const RoiGeometry& geometry, std::int64_t channels, bool channels_last,
                            const Region<A>* regions, const std::int32_t* order, const std::int32_t* map_begin,
                            T* grad_input, cudaStream_t stream) {
  const PsShape shape = ps_shape(geometry, channels);
  const auto pieces = [](std::int64_t length, int piece) { return (length + piece - 1) / piece; };
  const std::int64_t blocks = shape.images * shape.pooled_h * shape.pooled_w * pieces(channels, kRoiWarps) *
                              pieces(shape.h, kTileRows) * pieces(shape.w, kTileColumns);
  launch({blocks_for(blocks, 1), kRoiThreads, stream},
         channels_last ? ps_roi_backward_kernel<T, A, true> : ps_roi_backward_kernel<T, A, false>, grad, shape, regions,
         order, map_begin, grad_input);
}

#define SACCADE_INSTANTIATE(T, A)                                                                                     \
  template void launch_ps_roi<T, A>(const T*, const RoiGeometry&, std::int64_t, bool, const Region<A>*, std::int64_t, \
                                    const std::int32_t*, const Tap<A>*, T*, cudaStream_t);                            \
  template void launch_ps_roi_backward<T, A>(const T*, const RoiGeometry&, std::int64_t, bool, const Region<A>*,      \
                                             const std::int32_t*, const std::int32_t*, T*, cudaStream_t);
SACCADE_INSTANTIATE(Float16, float)
SACCADE_INSTANTIATE(BFloat16, float)
SACCADE_INSTANTIATE(float, float)
SACCADE_INSTANTIATE(double, double)
#undef SACCADE_INSTANTIATE

}  // namespace saccade::cuda
