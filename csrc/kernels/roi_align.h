// Kernels of roi_align (csrc/ops/roi_align.h), for one region and up to kRoiChannels channels of a map whose channels
// are innermost.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "isa/isa.h"

namespace saccade {

// Channels are handled this many at a time: a region of 26 x 26 cells then takes 170 KB and stays in L2, its rows in
// L1.
constexpr std::int64_t kRoiChannels = 64;

// The samples of all bins of one axis, added up per cell: bin p is the sum of weight[i] * cell[i], begin[p] <= i <
// begin[p + 1].
template <class A>
struct AxisTaps {
  const std::int32_t* begin;
  const std::int32_t* cell;
  const A* weight;
};

// A region: bilinear weights are a product, one factor per axis, so a bin's mean is a sum over rows of a sum over
// columns.
template <class A>
struct RoiTaps {
  AxisTaps<A> y;                // cell: a row of the map
  AxisTaps<A> x;                // cell: a position in `columns`
  const std::int32_t* columns;  // the columns of the map that the region touches, each once
  std::int32_t column_count;
};

// A piece of a map: cell (row, column) of the whole map is at
// data + (row - first_row) * row_stride + (column - first_column) * cell_stride.
template <class T>
struct MapBlock {
  T* data;
  std::int64_t row_stride, cell_stride, first_row, end_row, first_column;
};

template <class T>
struct RoiAlignFunctions {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  // out[(i * pooled_w + j) * bin_stride + c]. work: column_count * channels elements. past_caches: write around the
  // caches; then out, bin_stride and channels are whole cache lines.
  void (*forward)(const MapBlock<const T>& map, const RoiTaps<A>& roi, std::int64_t pooled_h, std::int64_t pooled_w,
                  std::int64_t channels, T* out, std::int64_t bin_stride, A* work, bool past_caches);
  // Adds to the rows of the map that lie in the block. work: as above.
  void (*backward)(const MapBlock<A>& map, const RoiTaps<A>& roi, std::int64_t pooled_h, std::int64_t pooled_w,
                   std::int64_t channels, const T* grad, std::int64_t bin_stride, A* work);
};

struct RoiAlignKernels {
  RoiAlignFunctions<Float16> f16;
  RoiAlignFunctions<BFloat16> bf16;
  RoiAlignFunctions<float> f32;
  RoiAlignFunctions<double> f64;

  template <class T>
  const RoiAlignFunctions<T>& get() const {
    if constexpr (std::is_same_v<T, Float16>) return f16;
    if constexpr (std::is_same_v<T, BFloat16>) return bf16;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(RoiAlignKernels, roi_align_kernels)

}  // namespace saccade
