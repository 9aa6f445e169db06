// Regions turned into the cells and weights that the aligned kernels read (kernels/roi_align.h), in blocks of
// neighbours.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/roi_align.h"
#include "math/roi.h"
#include "ops/roi.h"

namespace saccade {

// One axis of a region: samples, or whole cells.
template <class A>
struct TapAxis {
  RoiAxis<A> samples;
  CellAxis<A> cells;
  bool whole_cells;
};

// Regions handled together: those of a block lie on one map, side by side.
template <class A>
class RoiTapBlock {
 public:
  RegionBlock region;            // in which order, and where on the map
  std::int64_t max_columns = 0;  // of a region

  // Appends region `number`, on a map of h x w cells.
  void add(const char* op, std::int64_t number, const TapAxis<A>& y, const TapAxis<A>& x, std::int64_t pooled_h,
           std::int64_t pooled_w, std::int64_t h, std::int64_t w);

  RoiTaps<A> taps(std::int64_t i) const;

 private:
  struct Entry {
    std::size_t y_begin, y_taps, x_begin, x_taps, columns;  // offsets into the arrays below
    std::int32_t column_count;
  };
  void add_axis(const char* op, const TapAxis<A>& axis, std::int64_t bins, std::int64_t length);
  void add_samples(const RoiAxis<A>& axis, std::int64_t p, std::int64_t length);
  void add_cells(const CellAxis<A>& axis, std::int64_t p, std::int64_t length);

  std::vector<Entry> entries_;
  std::vector<std::int32_t> begin_, cell_, columns_, slot_;
  std::vector<A> weight_;
};

template <class A>
std::int64_t max_columns(const std::vector<RoiTapBlock<A>>& blocks) {
  std::int64_t most = 0;
  for (const auto& block : blocks) most = block.max_columns > most ? block.max_columns : most;
  return most;
}

// Blocks for all regions, in spatial order. level[k] < 0: the region is on no level and yields zeros.
template <class A>
std::vector<RoiTapBlock<A>> plan_regions(const char* op, const Rois<A>& rois, const std::vector<std::int64_t>& level,
                                         const std::vector<RoiLevel>& levels, const RoiSampling& sampling,
                                         std::int64_t pooled_h, std::int64_t pooled_w);

}  // namespace saccade
