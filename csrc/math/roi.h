// Geometry of the region-of-interest operators, one axis at a time, for both devices.
//
// Formulas and order of roundings are torchvision's (roi_align, roi_pool, ps_roi_align, ps_roi_pool), so that a sample
// on the border of the map, or a bin that ends on a cell, falls on the same side.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/macros.h"

namespace saccade {

// Whether a batch index names one of `images`. It is truncated to an integer, as in torchvision.
template <class A>
SACCADE_HD bool is_batch_index(A index, std::int64_t images) {
  return index > A(-1) && index < A(images);
}

// Where a region lies in a pyramid whose levels are consecutive powers of two, as in torchvision.
template <class A>
struct RoiLevelRule {
  A finest, coarsest;  // -log2 of the first and the last level's scale, truncated
  A canonical_scale, canonical_level;
  std::int64_t levels;
};
template <class A>
RoiLevelRule<A> roi_level_rule(double first_scale, double last_scale, std::int64_t levels, double canonical_scale,
                               std::int64_t canonical_level) {
  return {std::trunc(-std::log2(A(first_scale))), std::trunc(-std::log2(A(last_scale))), A(canonical_scale),
          A(canonical_level), levels};
}
// Counted from the first level; -1 where the area has no square root.
template <class A>
SACCADE_HD std::int64_t roi_level(A x1, A y1, A x2, A y2, const RoiLevelRule<A>& rule) {
  if (rule.levels == 1) return 0;
  const A ratio = std::sqrt((x2 - x1) * (y2 - y1)) / rule.canonical_scale;
  const A target = std::floor(rule.canonical_level + std::log2(ratio) + A(1e-6));
  if (target != target) return -1;
  const A above = target < rule.finest ? rule.finest : target;
  const A level = (above > rule.coarsest ? rule.coarsest : above) - rule.finest;
  return level >= A(rule.levels) ? rule.levels - 1 : level > A(0) ? std::int64_t(level) : 0;
}

// One axis of an aligned region: bin p holds `grid` samples, sample i at start + p * bin + (i + 0.5) * bin / grid.
template <class A>
struct RoiAxis {
  A start, bin;
  std::int64_t grid;  // 0: no samples (an empty or inverted region, or one that is not finite)
};

struct RoiSampling {
  double offset;                // 0.5 where regions are aligned to cell centres, else 0
  bool at_least_one;            // a region is stretched to one cell
  std::int64_t sampling_ratio;  // samples per bin and axis; <= 0: one per cell, rounded up
  bool whole_cells = false;     // no samples at all: the mean of the cells of ps_roi_pool
};

template <class A>
SACCADE_HD bool is_finite(A x) {
  return x - x == A(0);
}

template <class A>
SACCADE_HD RoiAxis<A> roi_axis(A low, A high, A scale, std::int64_t bins, const RoiSampling& sampling) {
  const A start = low * scale - A(sampling.offset), end = high * scale - A(sampling.offset);
  A size = end - start;
  if (!is_finite(start) || !is_finite(size)) return {A(0), A(0), 0};
  if (sampling.at_least_one && size < A(1)) size = A(1);
  const A bin = size / A(bins);
  if (sampling.sampling_ratio > 0) return {start, bin, sampling.sampling_ratio};
  const A grid = std::ceil(bin);
  // 2^62: far beyond any map, and still an exact integer in both types.
  return {start, bin, grid <= A(0) ? 0 : grid < A(4611686018427387904.0) ? std::int64_t(grid) : std::int64_t{1} << 62};
}

template <class A>
SACCADE_HD A sample_position(const RoiAxis<A>& axis, std::int64_t p, std::int64_t i) {
  return axis.start + A(p) * axis.bin + (A(i) + A(0.5)) * axis.bin / A(axis.grid);
}

// The samples of a bin that can add to the cells [low, high) of a map, [first, last): the rest are counted but add
// nothing, and a box of size 1e30 has 1e30 of them. The bounds allow for the rounding of sample_position; whoever loops
// tests each.
struct SampleRange {
  std::int64_t first, last;
};
template <class A>
SACCADE_HD SampleRange sample_range(const RoiAxis<A>& axis, std::int64_t p, std::int64_t low, std::int64_t high) {
  if (axis.grid <= 8 || axis.bin <= A(0)) return {0, axis.grid};
  const double epsilon = sizeof(A) == sizeof(float) ? 6e-8 : 1.2e-16, grid = double(axis.grid);
  const double per_cell = grid / double(axis.bin), origin = double(axis.start) + double(p) * double(axis.bin);
  const double reach = std::fabs(double(axis.start)) + double(p + 1) * double(axis.bin) + double(high);
  double slack = 2 + 8 * epsilon * reach * per_cell;
  if (slack > 4096) slack = 4096;  // positions are no longer distinct there: any bounded choice is as good
  const double first = (double(low) - 1 - origin) * per_cell - slack, last = (double(high) - origin) * per_cell + slack;
  if (!(last > 0) || !(first < grid)) return {0, 0};
  return {first <= 0 ? 0 : std::int64_t(first), last >= grid ? axis.grid : std::int64_t(last)};
}
template <class A>
SACCADE_HD SampleRange sample_range(const RoiAxis<A>& axis, std::int64_t p, std::int64_t length) {
  return sample_range(axis, p, 0, length);
}

// A coordinate of the pooling operators: scaled, then rounded half away from zero. Out of any map's reach stays there.
template <class A>
SACCADE_HD std::int64_t round_to_cell(A coordinate, A scale) {
  const A rounded = std::round(coordinate * scale), limit = A(1099511627776.0);  // 2^40
  return std::int64_t(rounded < -limit ? -limit : rounded > limit ? limit : rounded);
}

// One axis of a region of whole cells: bin p covers cells [floor(p * bin), ceil((p + 1) * bin)) from `start`.
template <class A>
struct CellAxis {
  std::int64_t start;
  A bin;
  bool finite;
};
// `extra` cells are added to the size: 1 where the end belongs to the region.
template <class A>
SACCADE_HD CellAxis<A> cell_axis(A low, A high, A scale, std::int64_t bins, std::int64_t extra) {
  if (!is_finite(low * scale) || !is_finite(high * scale)) return {0, A(0), false};
  const std::int64_t start = round_to_cell(low, scale), size = round_to_cell(high, scale) - start + extra;
  return {start, A(size < 1 ? 1 : size) / A(bins), true};
}

// The cells of bin p that lie on [0, length).
struct CellRange {
  std::int64_t first, end;
};
template <class A>
SACCADE_HD CellRange cell_range(const CellAxis<A>& axis, std::int64_t p, std::int64_t length) {
  if (!axis.finite) return {0, 0};
  const std::int64_t first = axis.start + std::int64_t(std::floor(A(p) * axis.bin));
  const std::int64_t end = axis.start + std::int64_t(std::ceil(A(p + 1) * axis.bin));
  return {first < 0 ? 0 : first > length ? length : first, end < 0 ? 0 : end > length ? length : end};
}

// Linear interpolation at a position: cells low and high, with weights that add up to one.
template <class A>
struct LinearSample {
  std::int64_t low, high;
  A low_weight, high_weight;
  bool valid;
};
template <class A>
SACCADE_HD LinearSample<A> linear_sample(A position, std::int64_t length) {
  if (!(position >= A(-1) && position <= A(length)) || length <= 0) return {0, 0, A(0), A(0), false};
  if (position <= A(0)) position = A(0);
  const std::int64_t low = std::int64_t(position);
  if (low >= length - 1) return {length - 1, length - 1, A(1), A(0), true};
  const A high_weight = position - A(low);
  return {low, low + 1, A(1) - high_weight, high_weight, true};
}

}  // namespace saccade
