// Kernels of ps_roi_align and ps_roi_pool (csrc/ops/ps_roi_align.h): one bin of one region on one plane, any strides.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "isa/isa.h"
#include "kernels/roi_align.h"

namespace saccade {

// Bin (p, q) of a region, whose channels are `bin_channels` channels, each `channel_stride` elements after the last.
struct PsBin {
  std::int64_t p, q, channels, channel_stride;
};

// A bin whose columns fit kPsLanes consecutive lanes, as most do.
constexpr std::int64_t kPsLanes = 16;
struct PsNarrowBin {
  std::int32_t rows, row_count;  // of the tables below
  std::int32_t columns;          // likewise
  std::int32_t plane;            // of the window
  std::int64_t out;
};
// Lanes [lane, lane + count) of the cells from `first` on belong to a bin; the others' weights are zero.
struct PsColumns {
  std::int32_t first, lane, count;
};
template <class A>
struct PsTables {
  const std::int32_t* row;
  const A* row_weight;
  const PsColumns* columns;
  const A* column_weight;  // [columns][kPsLanes]
};
// Planes with adjacent cells: row y of plane p is at data + p * plane_stride + row_offset[y]. A bin reads `planes`
// planes, each plane_step after the last.
template <class S>
struct PsWindow {
  const S* data;
  const std::int64_t* row_offset;
  std::int64_t first_column, plane_stride, planes, plane_step;
};

template <class T>
struct PsRoiAlignFunctions {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  // out[c * out_stride]: the bin's weighted sum over channel c; map.data points to the bin's first channel.
  void (*forward)(const MapBlock<const T>& map, const RoiTaps<A>& roi, const PsBin& bin, T* out,
                  std::int64_t out_stride);
  // out[bin.out + i * out_stride] for the i-th plane of every bin. `wide` where a bin has more than half the lanes.
  void (*narrow)(const PsWindow<T>& map, const PsTables<A>& tables, const PsNarrowBin* bins, std::int64_t count,
                 bool wide, T* out, std::int64_t out_stride);
  void (*narrow_of_sums)(const PsWindow<A>& map, const PsTables<A>& tables, const PsNarrowBin* bins, std::int64_t count,
                         bool wide, T* out, std::int64_t out_stride);
  // The transpose: adds grad[c * grad_stride] to the map's rows that lie in the block.
  void (*backward)(const MapBlock<A>& map, const RoiTaps<A>& roi, const PsBin& bin, const T* grad,
                   std::int64_t grad_stride);
};

struct PsRoiAlignKernels {
  PsRoiAlignFunctions<Float16> f16;
  PsRoiAlignFunctions<BFloat16> bf16;
  PsRoiAlignFunctions<float> f32;
  PsRoiAlignFunctions<double> f64;

  template <class T>
  const PsRoiAlignFunctions<T>& get() const {
    if constexpr (std::is_same_v<T, Float16>) return f16;
    if constexpr (std::is_same_v<T, BFloat16>) return bf16;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(PsRoiAlignKernels, ps_roi_align_kernels)

}  // namespace saccade
