// Kernels of average pooling (csrc/ops/avg_pool2d.h).
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "isa/isa.h"
#include "kernels/phase_row.h"
#include "math/mean_windows.h"

namespace saccade {

// Whether neighbouring windows become neighbouring lanes; otherwise the cells of a window do. Beyond stride 2 sorting
// the columns costs a scalar instruction for each, as much as adding them up.
SACCADE_HD bool mean_by_phase(const MeanAxis& x) { return !x.adaptive && x.window.stride <= 2 && x.window.out >= 4; }
// Accumulators that `planes` works in.
SACCADE_HD std::int64_t mean_row_length(const MeanAxis& x) {
  return mean_by_phase(x) ? phase_length(x.window) * x.window.stride : x.window.in;
}

// columns: cells_in of every column of windows. counts: what it counts, whole registers of them.
template <class A>
struct MeanColumns {
  const WindowRange* columns;
  const A* counts;
};

template <class T>
struct AvgPool2dFunctions {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  // One window for each plane, which holds all of its cells.
  void (*whole_planes)(const T* input, std::int64_t cells, A divisor, std::int64_t planes, T* out);
  // Rows [first, last) of the output, all planes' in a row; `row` is working memory.
  void (*planes)(const T* input, const MeanShape& shape, const MeanColumns<A>& columns, std::int64_t first,
                 std::int64_t last, A* row, T* out);
  // Channels [first, last) of one row of one image of (h, w, channels); `sums` is working memory for twice as
  // many.
  void (*channels)(const T* input, const MeanShape& shape, const MeanColumns<A>& columns, std::int64_t channels,
                   std::int64_t p, std::int64_t first, std::int64_t last, A* sums, T* out);
};

struct AvgPool2dKernels {
  AvgPool2dFunctions<Float16> f16;
  AvgPool2dFunctions<BFloat16> bf16;
  AvgPool2dFunctions<float> f32;
  AvgPool2dFunctions<double> f64;

  template <class T>
  const AvgPool2dFunctions<T>& get() const {
    if constexpr (std::is_same_v<T, Float16>) return f16;
    if constexpr (std::is_same_v<T, BFloat16>) return bf16;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(AvgPool2dKernels, avg_pool2d_kernels)

}  // namespace saccade
