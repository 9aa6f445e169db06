// Kernels of average pooling's gradient (csrc/ops/avg_pool2d.h).
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "isa/isa.h"
#include "math/mean_windows.h"

namespace saccade {

// Working memory of `planes`: reciprocals of the counts, a row of gradients with `margin` zeros before its first
// window and as many places behind as a cell may look at, a row of cells.
struct MeanSpread {
  std::int64_t margin, row, cells;
  std::int64_t size() const { return row + row + cells; }
};
SACCADE_HD MeanSpread mean_spread(const MeanAxis& x) {
  constexpr std::int64_t kMostLanes = 16;
  const WindowAxis& window = x.window;
  const std::int64_t margin = x.adaptive ? 0 : (window.kernel - 1) / window.stride;
  const std::int64_t reach = x.adaptive ? 0 : (window.in - 1 + window.padding) / window.stride + 1;
  const std::int64_t places = margin + (reach > window.out ? reach : window.out);
  return {margin, (places + 2 * kMostLanes) / kMostLanes * kMostLanes, window.in};
}

template <class T>
struct AvgPool2dBackwardFunctions {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  // Rows [first, last) of the gradient, all planes' in a row. columns: cells_in of every column of windows; counts:
  // what it counts, whole registers of them.
  void (*planes)(const T* grad, const MeanShape& shape, const WindowRange* columns, const A* counts, std::int64_t first,
                 std::int64_t last, A* memory, T* grad_input);
  // Rows [first, last) of one image of (h, w, channels). over: windows_with of every column. inverse: working memory
  // for a row of reciprocals, out_w rounded up to whole registers, per row of windows over a cell.
  void (*channels)(const T* grad, const MeanShape& shape, const WindowRange* over, const A* counts,
                   std::int64_t channels, std::int64_t first, std::int64_t last, A* inverse, T* grad_input);
};

struct AvgPool2dBackwardKernels {
  AvgPool2dBackwardFunctions<Float16> f16;
  AvgPool2dBackwardFunctions<BFloat16> bf16;
  AvgPool2dBackwardFunctions<float> f32;
  AvgPool2dBackwardFunctions<double> f64;

  template <class T>
  const AvgPool2dBackwardFunctions<T>& get() const {
    if constexpr (std::is_same_v<T, Float16>) return f16;
    if constexpr (std::is_same_v<T, BFloat16>) return bf16;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(AvgPool2dBackwardKernels, avg_pool2d_backward_kernels)

}  // namespace saccade
