#include <limits>

#include "common/dispatch.h"
#include "cuda/kernels/roi.cuh"
#include "math/half.h"

namespace saccade::cuda {
namespace {

template <class A>
__device__ RegionAxis<A> region_axis(A low, A high, const RoiGeometry& geometry, double scale, std::int64_t bins) {
  RegionAxis<A> axis = {};
  if (geometry.kind == BinKind::kSamples) {
    axis.samples = roi_axis(low, high, A(scale), bins, geometry.sampling);
  } else {
    axis.cells = cell_axis(low, high, A(scale), bins, geometry.kind == BinKind::kMaxima);
  }
  return axis;
}

// One thread per region.
template <class R, class A>
__global__ void __launch_bounds__(kRoiThreads)
    roi_regions_kernel(const __grid_constant__ TensorView rois, const __grid_constant__ RoiGeometry geometry,
                       RoiLevelRule<A> rule, Region<A>* regions) {
  const std::int64_t k = thread_index();
  if (k >= rois.sizes[0]) return;
  const R* row = static_cast<const R*>(rois.data) + k * rois.strides[0];
  A value[5];
  for (int j = 0; j < 5; ++j) value[j] = static_cast<A>(to_float(row[j * rois.strides[1]]));
  const std::int64_t level = roi_level(value[1], value[2], value[3], value[4], rule);
  Region<A> region = {};
  region.map = -1;
  if (level >= 0 && is_batch_index(value[0], geometry.images)) {
    const RoiGeometry::Level on = geometry.level[level];
    region.y = region_axis(value[2], value[4], geometry, on.scale, geometry.pooled_h);
    region.x = region_axis(value[1], value[3], geometry, on.scale, geometry.pooled_w);
    const Reach rows = reach_of(region.y, geometry.kind, 0, geometry.pooled_h, on.h);
    const Reach columns = reach_of(region.x, geometry.kind, 0, geometry.pooled_w, on.w);
    region.y.first = rows.first, region.y.end = rows.end;
    region.x.first = columns.first, region.x.end = columns.end;
    if (rows.first < rows.end && columns.first < columns.end)
      region.map = static_cast<std::int64_t>(value[0]) * geometry.levels + level;
  }
  regions[k] = region;
}

// A block per map reads all regions twice: it counts those of the maps before it, then lists its own. At 8 bytes a
// region from L2 that is less than a sort by map costs, until there are thousands of maps.
template <class A>
__global__ void __launch_bounds__(kRoiThreads)
    roi_order_kernel(const Region<A>* regions, std::int64_t count, std::int32_t* order, std::int32_t* map_begin) {
  SACCADE_SHARED(int, before);
  SACCADE_SHARED(int[kRoiWarps], warp_counts);
  const std::int64_t map = blockIdx.x;
  if (threadIdx.x == 0) before = 0;
  __syncthreads();
  int earlier = 0;
  for (std::int64_t k = threadIdx.x; k < count; k += kRoiThreads)
    earlier += regions[k].map >= 0 && regions[k].map < map;
  if (earlier > 0) atomicAdd(&before, earlier);
  __syncthreads();
  int end = before;
  if (threadIdx.x == 0) map_begin[map] = end;
  for (std::int64_t first = 0; first < count; first += kRoiThreads) {
    const std::int64_t k = first + threadIdx.x;
    const bool here = k < count && regions[k].map == map;
    const Place place = place_of(here, warp_counts);
    if (here) order[end + place.index] = static_cast<std::int32_t>(k);
    end += place.count;
  }
  if (threadIdx.x == 0 && blockIdx.x + 1 == gridDim.x) map_begin[map + 1] = end;
}

// Calls emit(cell, weight) for the cells of a bin, each once. Sums in the order of roi_taps.cpp.
template <class A, class Emit>
__device__ void each_tap(const RegionAxis<A>& axis, BinKind kind, std::int64_t p, std::int64_t length,
                         const Emit& emit) {
  if (kind != BinKind::kSamples) {
    const CellRange range = cell_range(axis.cells, p, usable_length(kind, length));
    for (std::int64_t cell = range.first; cell < range.end; ++cell) emit(cell, A(1) / A(range.end - range.first));
    return;
  }
  // Positions go one way, so only the last sample's two cells can still gain weight.
  std::int64_t low = -1, high = -1;
  A low_weight = A(0), high_weight = A(0);
  const A share = A(1) / A(axis.samples.grid);
  const SampleRange range = sample_range(axis.samples, p, length);
  for (std::int64_t i = range.first; i < range.last; ++i) {
    const LinearSample<A> sample = linear_sample(sample_position(axis.samples, p, i), length);
    if (!sample.valid) continue;
    if (sample.low != low) {
      if (low >= 0 && low != sample.high) emit(low, low_weight * share);
      if (high > low && high != sample.low) emit(high, high_weight * share);
      const A kept = sample.low == high ? high_weight : A(0);
      high_weight = sample.high == low ? low_weight : A(0);
      low_weight = kept;
      low = sample.low, high = sample.high;
    }
    low_weight += sample.low_weight;
    high_weight += sample.high_weight;
  }
  if (low >= 0) emit(low, low_weight * share);
  if (high > low) emit(high, high_weight * share);
}

// A warp per axis of a region: each lane counts the taps of a bin, the counts are added up, each lane writes its taps.
template <class A>
__global__ void __launch_bounds__(kRoiThreads)
    roi_taps_kernel(const Region<A>* regions, std::int64_t count, const __grid_constant__ RoiGeometry geometry,
                    TapLayout layout, std::int32_t* begins, Tap<A>* taps) {
  const std::int64_t warp = thread_index() / kWarp, region = warp / 2;
  const bool rows = warp % 2 == 0;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (region >= count || regions[region].map < 0) return;
  const RegionAxis<A> axis = rows ? regions[region].y : regions[region].x;
  const RoiGeometry::Level& on = geometry.level[regions[region].map % geometry.levels];
  const std::int64_t bins = rows ? geometry.pooled_h : geometry.pooled_w, length = rows ? on.h : on.w;
  begins += region * (geometry.pooled_h + geometry.pooled_w + 2) + (rows ? 0 : geometry.pooled_h + 1);
  taps += region * layout.stride() + (rows ? 0 : layout.row_capacity);
  const std::int32_t capacity = static_cast<std::int32_t>(rows ? layout.row_capacity : layout.column_capacity);
  std::int32_t end = 0;
  if (lane == 0) begins[0] = 0;
  for (std::int64_t first = 0; first < bins; first += kWarp) {
    const std::int64_t p = first + lane;
    std::int32_t mine = 0;
    if (p < bins) each_tap(axis, geometry.kind, p, length, [&](std::int64_t, A) { ++mine; });
    std::int32_t sum = mine;
    for (int step = 1; step < kWarp; step *= 2) {
      const std::int32_t other = __shfl_up_sync(kAllLanes, sum, step);
      if (lane >= step) sum += other;
    }
    // Beyond the capacity there is nothing (tap_layout), but for a box so far away that its positions are no longer
    // distinct and several bins fall on the same cells: what they have too much is left out.
    std::int32_t slot = end + sum - mine;
    if (p < bins) {
      each_tap(axis, geometry.kind, p, length, [&](std::int64_t cell, A weight) {
        if (slot < capacity) taps[slot] = {static_cast<std::int32_t>(cell), weight};
        ++slot;
      });
      begins[p + 1] = slot < capacity ? slot : capacity;
    }
    end += __shfl_sync(kAllLanes, sum, kWarp - 1);
    if (end > capacity) end = capacity;
  }
}

}  // namespace

template <class A>
void launch_roi_regions(const TensorView& rois, const RoiGeometry& geometry, Region<A>* regions, cudaStream_t stream) {
  const auto rule = roi_level_rule<A>(geometry.level[0].scale, geometry.level[geometry.levels - 1].scale,
                                      geometry.levels, geometry.canonical_scale, geometry.canonical_level);
  dispatch_floating(rois.dtype, [&](auto tag) {
    using R = typename decltype(tag)::type;
    launch({blocks_for(rois.size(0), kRoiThreads), kRoiThreads, stream}, roi_regions_kernel<R, A>, rois, geometry, rule,
           regions);
  });
}

template <class A>
void launch_roi_order(const Region<A>* regions, std::int64_t count, std::int64_t maps, std::int32_t* order,
                      std::int32_t* map_begin, cudaStream_t stream) {
  if (count > std::numeric_limits<std::int32_t>::max())
    throw std::runtime_error("saccade: " + std::to_string(count) + " regions are too many for the gradient on CUDA");
  launch({blocks_for(maps, 1), kRoiThreads, stream}, roi_order_kernel<A>, regions, count, order, map_begin);
}

TapLayout tap_layout(const RoiGeometry& geometry) {
  std::int64_t h = 0, w = 0;
  for (int l = 0; l < geometry.levels; ++l) {
    h = h > geometry.level[l].h ? h : geometry.level[l].h;
    w = w > geometry.level[l].w ? w : geometry.level[l].w;
  }
  // Bins lie side by side: each cell is in one, and every bin can share a cell or two with its neighbours.
  const auto capacity = [&](std::int64_t bins, std::int64_t length) {
    const std::int64_t shared = length + 3 * bins + 8;
    const std::int64_t ratio = geometry.sampling.sampling_ratio;
    const std::int64_t most =
        geometry.kind == BinKind::kSamples && ratio > 0 && 2 * ratio * bins < shared ? 2 * ratio * bins : shared;
    if (most > std::numeric_limits<std::int32_t>::max())
      throw std::runtime_error("saccade: " + std::to_string(bins) + " bins are too many for CUDA");
    return most;
  };
  return {capacity(geometry.pooled_h, h), capacity(geometry.pooled_w, w)};
}

std::int64_t tap_batch(const RoiGeometry& geometry, std::int64_t count, std::int64_t tap_bytes) {
  constexpr std::int64_t kBytes = 64 << 20;
  const std::int64_t fits = kBytes / (tap_layout(geometry).stride() * tap_bytes);
  return fits < 1 ? 1 : fits < count ? fits : count;
}

template <class A>
void launch_roi_taps(const Region<A>* regions, std::int64_t count, const RoiGeometry& geometry, std::int32_t* begins,
                     Tap<A>* taps, cudaStream_t stream) {
  launch({blocks_for(count * 2 * kWarp, kRoiThreads), kRoiThreads, stream}, roi_taps_kernel<A>, regions, count,
         geometry, tap_layout(geometry), begins, taps);
}

#define SACCADE_INSTANTIATE(A)                                                                                  \
  template void launch_roi_regions<A>(const TensorView&, const RoiGeometry&, Region<A>*, cudaStream_t);         \
  template void launch_roi_order<A>(const Region<A>*, std::int64_t, std::int64_t, std::int32_t*, std::int32_t*, \
                                    cudaStream_t);                                                              \
  template void launch_roi_taps<A>(const Region<A>*, std::int64_t, const RoiGeometry&, std::int32_t*, Tap<A>*,  \
                                   cudaStream_t);
SACCADE_INSTANTIATE(float)
SACCADE_INSTANTIATE(double)
#undef SACCADE_INSTANTIATE

}  // namespace saccade::cuda
