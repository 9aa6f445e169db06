// What the region-of-interest operators share: argument rules, and an order of the regions that keeps the map in cache.
//
// rois (k, 5): batch index, x1, y1, x2, y2. The batch index is truncated to an integer, as in torchvision; one out of
// range is a ValueError; on CUDA, where finding it would make every call wait for the device, its region yields zeros
// and has no gradient. A region with a coordinate that is not finite, or that overflows when scaled, yields zeros.
// rois may be of another float type than the map (box regression in float32, maps in float16), but float64 goes with
// float64.
#pragma once

#include <cstdint>
#include <vector>

#include "common/tensor_view.h"

namespace saccade {

// More samples per bin and axis than this are refused: the time of a call grows with it.
constexpr std::int64_t kMaxSamplingRatio = 4096;

void check_roi_arguments(const char* op, const TensorView& input, const TensorView& rois, double spatial_scale,
                         std::int64_t pooled_h, std::int64_t pooled_w);
void check_sampling_ratio(const char* op, std::int64_t sampling_ratio);

// The regions as the arithmetic sees them: A is float, or double for double maps.
template <class A>
struct Rois {
  std::vector<std::int64_t> image;
  std::vector<A> x1, y1, x2, y2;
  std::int64_t size() const { return static_cast<std::int64_t>(image.size()); }
};
// Reads (k, 5) of any strides; throws ValueError when a batch index is not in [0, images).
template <class A>
Rois<A> read_rois(const char* op, const TensorView& rois, std::int64_t images);

// A map of a pyramid; maps are numbered image * levels + level.
struct RoiLevel {
  std::int64_t h, w;
  double scale;
};

// Neighbours on one map, handled together, and the rectangle of cells that each touches.
struct CellRect {
  std::int64_t first_row, end_row, first_column, end_column;
};
struct RegionBlock {
  std::int64_t map = 0;
  std::vector<std::int64_t> roi;  // the regions' numbers
  std::vector<CellRect> rect;
  std::int64_t cells = 0;  // of all rectangles
};

// A piece of the order below: what becomes a block.
struct RoiRun {
  std::int64_t map, begin, end;
};
struct RoiOrder {
  std::vector<std::int64_t> index;
  std::vector<RoiRun> runs;
};
// Regions by map, then by bands of 32 rows, then from left to right: neighbours share cells, and the second one finds
// them in L2. level[k] < 0 counts as the first level.
template <class A>
RoiOrder spatial_order(const Rois<A>& rois, const std::vector<std::int64_t>& level,
                       const std::vector<RoiLevel>& levels);

}  // namespace saccade
