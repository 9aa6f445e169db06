// What the region-of-interest kernels share: regions in cells of their maps, their order, and the cells and weights of
// their bins.
//
// A region that csrc/ops would refuse for its batch index yields zeros here and has no gradient: to raise, the host
// would have to wait for the device in every call, and a call could not be captured in a CUDA graph.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/tensor_view.h"
#include "math/roi.h"

namespace saccade::cuda {

constexpr int kMaxRoiLevels = 16;

enum class BinKind {
  kSamples,  // bilinear samples: roi_align, ps_roi_align
  kMeans,    // whole cells, the end left out, and the map's last row and column too: ps_roi_pool
  kMaxima,   // whole cells, the end included: roi_pool
};

struct RoiGeometry {
  BinKind kind;
  RoiSampling sampling;  // of kSamples
  std::int64_t images, pooled_h, pooled_w;
  int levels;
  struct Level {
    std::int64_t h, w;
    double scale;
  } level[kMaxRoiLevels];
  double canonical_scale;  // of several levels
  std::int64_t canonical_level;
};

// One axis of a region. Its bins touch no cell outside [first, end).
template <class A>
struct RegionAxis {
  RoiAxis<A> samples;  // of kSamples
  CellAxis<A> cells;   // of the other kinds
  std::int32_t first, end;
};

template <class A>
struct Region {
  std::int64_t map;  // image * levels + level; -1: it touches no cell of any map
  RegionAxis<A> y, x;
};

// A: float, or double for float64 rois. rois (k, 5), of any strides and any floating dtype that goes with A.
template <class A>
void launch_roi_regions(const TensorView& rois, const RoiGeometry& geometry, Region<A>* regions, cudaStream_t stream);

// order: the numbers of the regions that touch a map, by map, in ascending order on each; those of map m are at
// [map_begin[m], map_begin[m + 1]). order holds `count` numbers, map_begin maps + 1.
template <class A>
void launch_roi_order(const Region<A>* regions, std::int64_t count, std::int64_t maps, std::int32_t* order,
                      std::int32_t* map_begin, cudaStream_t stream);

// The samples of a bin, added up per cell.
template <class A>
struct Tap {
  std::int32_t cell;
  A weight;
};

// Where the taps of each region of a batch lie: bin p of region i's rows has taps[i * stride + begin[p]] up to
// begin[p + 1], where begin = begins + i * (pooled_h + pooled_w + 2); the columns' begin follows the rows', and their
// taps are row_capacity later.
struct TapLayout {
  std::int64_t row_capacity, column_capacity;
  constexpr std::int64_t stride() const { return row_capacity + column_capacity; }
};
TapLayout tap_layout(const RoiGeometry& geometry);

// As many regions as are worked on at once, so that their taps take no more than 64 MB (or are those of one region).
std::int64_t tap_batch(const RoiGeometry& geometry, std::int64_t count, std::int64_t tap_bytes);

template <class A>
void launch_roi_taps(const Region<A>* regions, std::int64_t count, const RoiGeometry& geometry, std::int32_t* begins,
                     Tap<A>* taps, cudaStream_t stream);

}  // namespace saccade::cuda
