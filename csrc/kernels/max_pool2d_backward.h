// Kernels of max_pool2d's gradient (csrc/ops/max_pool2d.h).
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "isa/isa.h"
#include "math/windows.h"

namespace saccade {

// The most cells of a window for which gather_plane is the faster one.
constexpr std::int64_t kGatherTaps = 4;

// Working memory of gather_plane: `slots` rows of gradients and of indices, each with `margin` places before its first
// window, so that a cell finds the windows over it by subtraction alone.
struct MaxPoolGather {
  std::int64_t margin, row, slots, stride, taps;
  std::int64_t values() const { return row * slots; }
  std::int64_t plan() const { return slots + stride + 1 + taps; }
};
SACCADE_HD MaxPoolGather max_pool_gather(const WindowShape& shape) {
  constexpr std::int64_t kMostLanes = 16;
  const WindowAxis& x = shape.x;
  const std::int64_t margin = (x.kernel - 1) * x.dilation / x.stride;
  const std::int64_t columns = (x.in - 1 + x.padding) / x.stride + 1;
  return {margin, (margin + columns + 2 * kMostLanes) / kMostLanes * kMostLanes,
          (shape.y.kernel - 1) * shape.y.dilation / shape.y.stride + 1, x.stride, x.kernel};
}

template <class T>
struct MaxPool2dBackwardFunctions {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  using I = std::conditional_t<std::is_same_v<T, double>, std::int64_t, std::int32_t>;
  // Rows [first, last) of one plane's gradient: every cell looks at the windows over it. For small kernels.
  void (*gather_plane)(const T* grad, const std::int64_t* indices, const WindowShape& shape,
                       const MaxPoolGather& gather, std::int64_t first, std::int64_t last, A* values, I* where,
                       std::int64_t* plan, T* grad_input);
  // The same from the windows' side; sums holds the rows, and is not used where T is A.
  void (*scatter_plane)(const T* grad, const std::int64_t* indices, const WindowShape& shape, std::int64_t first,
                        std::int64_t last, A* sums, T* grad_input);
  // One image of (h, w, channels); columns: windows_over of every column.
  void (*channels)(const T* grad, const std::int64_t* indices, const WindowShape& shape, const WindowRange* columns,
                   std::int64_t channels, std::int64_t first, std::int64_t last, T* grad_input);
};

struct MaxPool2dBackwardKernels {
  MaxPool2dBackwardFunctions<Float16> f16;
  MaxPool2dBackwardFunctions<BFloat16> bf16;
  MaxPool2dBackwardFunctions<float> f32;
  MaxPool2dBackwardFunctions<double> f64;

  template <class T>
  const MaxPool2dBackwardFunctions<T>& get() const {
    if constexpr (std::is_same_v<T, Float16>) return f16;
    if constexpr (std::is_same_v<T, BFloat16>) return bf16;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(MaxPool2dBackwardKernels, max_pool2d_backward_kernels)

}  // namespace saccade
