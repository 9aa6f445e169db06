// Sampling for deformable convolution (csrc/ops/deform_conv2d.h), and its transpose.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "isa/isa.h"
#include "math/deform_conv2d.h"

namespace saccade {

// One tap of the kernel on one image, for the channels that share its offsets.
template <class T>
struct DeformTap {
  WindowAxis y, x;
  std::int64_t i, j;                    // the tap
  const T *offset_y, *offset_x, *mask;  // of result 0; mask: null for ones
  std::int64_t offset_step, mask_step;  // from one result to the next
};

// From the first of some channels on; steps between neighbours in memory.
template <class T>
struct DeformCells {
  T* data;
  std::int64_t row, cell, channel;
};

template <class T>
struct DeformGradients {
  T *y, *x, *mask;  // of result 0, each with the steps of what it is the gradient of; null where not needed
};

template <class T>
struct DeformFunctions {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  // out[i * pitch + c] = the sample of result first + i times its mask, i < count, c < channels.
  void (*sample)(const DeformTap<T>& tap, const DeformCells<const T>& cells, std::int64_t first, std::int64_t count,
                 std::int64_t channels, A* out, std::int64_t pitch);
  // samples[i * pitch + c], the gradients of these samples, to the cells that each was taken from; channel step 1.
  void (*add_to_cells)(const DeformTap<T>& tap, const DeformCells<A>& cells, std::int64_t first, std::int64_t count,
                       std::int64_t channels, const A* samples, std::int64_t pitch);
  // and to their offsets and masks.
  void (*differentiate)(const DeformTap<T>& tap, const DeformCells<const T>& cells, std::int64_t first,
                        std::int64_t count, std::int64_t channels, const A* samples, std::int64_t pitch,
                        const DeformGradients<T>& gradients);
};

struct DeformConv2dKernels {
  DeformFunctions<Float16> f16;
  DeformFunctions<BFloat16> bf16;
  DeformFunctions<float> f32;
  DeformFunctions<double> f64;

  template <class T>
  const DeformFunctions<T>& get() const {
    if constexpr (std::is_same_v<T, Float16>) return f16;
    if constexpr (std::is_same_v<T, BFloat16>) return bf16;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(DeformConv2dKernels, deform_conv2d_kernels)

}  // namespace saccade
