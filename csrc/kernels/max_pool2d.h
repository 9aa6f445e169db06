// Kernels of max_pool2d (csrc/ops/max_pool2d.h).
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "isa/isa.h"
#include "kernels/phase_row.h"
#include "math/windows.h"

namespace saccade {

// Working memory of forward_plane: `rows` of the padded plane as PhaseRow.
struct MaxPoolRing {
  std::int64_t phase, row, rows, taps_y, taps_x;
  std::int64_t values() const { return row * rows; }            // accumulators
  std::int64_t plan() const { return rows + taps_y + taps_x; }  // integers
};
// With indices a window's rows are kept, without only their maximum.
SACCADE_HD MaxPoolRing max_pool_ring(const WindowShape& shape, bool with_indices) {
  const std::int64_t phase = phase_length(shape.x);
  return {phase, phase * shape.x.stride, with_indices ? (shape.y.kernel - 1) * shape.y.dilation + 1 : 1, shape.y.kernel,
          shape.x.kernel};
}

template <class T>
struct MaxPool2dFunctions {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  // Rows [first, last) of one plane's output. indices may be null.
  void (*forward_plane)(const T* input, const WindowShape& shape, const MaxPoolRing& ring, bool minimum,
                        std::int64_t first, std::int64_t last, A* values, std::int64_t* plan, T* out,
                        std::int64_t* indices);
  // The same for one image of (h, w, channels); columns: taps_inside of every column of windows.
  void (*forward_channels)(const T* input, const WindowShape& shape, const WindowRange* columns, std::int64_t channels,
                           bool minimum, std::int64_t first, std::int64_t last, T* out, std::int64_t* indices);
};

struct MaxPool2dKernels {
  MaxPool2dFunctions<Float16> f16;
  MaxPool2dFunctions<BFloat16> bf16;
  MaxPool2dFunctions<float> f32;
  MaxPool2dFunctions<double> f64;

  template <class T>
  const MaxPool2dFunctions<T>& get() const {
    if constexpr (std::is_same_v<T, Float16>) return f16;
    if constexpr (std::is_same_v<T, BFloat16>) return bf16;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(MaxPool2dKernels, max_pool2d_kernels)

}  // namespace saccade
