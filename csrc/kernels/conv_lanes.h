// Kernels of convolutions whose groups fit into a register (csrc/ops/conv_lanes.h), channels innermost.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "isa/isa.h"
#include "math/activation.h"
#include "math/conv2d.h"

namespace saccade {

// `weights` holds, for each register of channels, tap and input channel of a group, a register of output channels.
template <class T>
struct ConvLanes {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const ConvGrid* grid;
  std::int64_t channels, group;  // of all groups; of one, a power of two less than a register's lanes
  std::int64_t low_y, low_x;     // of the taps
  std::int64_t height, pitch;    // of the cells that the results of one row need, before `rows` stretches the height
  int square;                    // 3, 5 or 7: the side of a square of neighbouring taps, in order; or 0
  const T* source;               // one image
  const A *weights, *scale, *shift;
  const T* residual;  // of the image, or null
  T* out;
  Activation activation;
};

template <class T>
struct ConvLanesGradient {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const ConvGrid* grid;
  std::int64_t channels, group, images;
  const T *source, *results;
};

template <class T>
struct ConvLanesFunctions {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  // Rows [first, first + rows) of the grid for the register of channels that begins at `channel`; cells: room for
  // ((rows - 1) * step_y + height) * pitch registers.
  void (*strip)(const ConvLanes<T>& problem, std::int64_t channel, std::int64_t first, std::int64_t rows, A* cells);
  // sums[tap][input channel of the group][lane] for the register of channels that begins at `channel`.
  void (*gradient)(const ConvLanesGradient<T>& problem, std::int64_t channel, A* sums);
  std::int64_t lanes;
};

struct ConvLanesKernels {
  ConvLanesFunctions<Float16> f16;
  ConvLanesFunctions<BFloat16> bf16;
  ConvLanesFunctions<float> f32;
  ConvLanesFunctions<double> f64;

  template <class T>
  const ConvLanesFunctions<T>& get() const {
    if constexpr (std::is_same_v<T, Float16>) return f16;
    if constexpr (std::is_same_v<T, BFloat16>) return bf16;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(ConvLanesKernels, conv_lanes_kernels)

}  // namespace saccade
