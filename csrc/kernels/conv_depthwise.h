// The kernel of depthwise convolutions by squares of 3, 5 or 7 taps, of stride 1 or 2 along both axes
// (csrc/ops/conv_lanes.h), channels innermost.
#pragma once

#include "kernels/conv_lanes.h"

namespace saccade {

struct ConvDepthwiseKernels {
  // Rows [first, last) of the grid, all channels.
  template <class T>
  using Rows = void (*)(const ConvLanes<T>& problem, std::int64_t first, std::int64_t last);
  Rows<Float16> f16;
  Rows<BFloat16> bf16;
  Rows<float> f32;
  Rows<double> f64;

  template <class T>
  Rows<T> get() const {
    if constexpr (std::is_same_v<T, Float16>) return f16;
    if constexpr (std::is_same_v<T, BFloat16>) return bf16;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(ConvDepthwiseKernels, conv_depthwise_kernels)

}  // namespace saccade
