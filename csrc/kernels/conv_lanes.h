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
  const T* source;               // one image
  const A *weights, *scale, *shift;
  const T* residual;  // of the image, or null
  T* out;
  Activation activation;
};

// A tap that lies inside the source in one row of the grid: where it finds the cell of column 0, and its weights.
struct RowTap {
  std::int64_t cell, x, weight;
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
  // Row p of the grid; room for all taps.
  void (*row)(const ConvLanes<T>& problem, std::int64_t p, RowTap* taps);
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
