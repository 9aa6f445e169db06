// Kernels of Winograd's convolution (csrc/ops/conv_winograd.h), float32, channels innermost. `cells` is m + 2.
#pragma once

#include <cstdint>

#include "isa/isa.h"
#include "math/activation.h"

namespace saccade {

constexpr std::int64_t kWinogradLine = 16;  // floats of a cache line

// activation(results * scale + shift + residual) of one tile.
struct WinogradResults {
  const float* products;  // cells * cells planes of `columns`, `step` apart
  std::int64_t step, columns;
  const float *scale, *shift;
  const float* const* residual;  // m * m, or null
  float* const* out;             // m * m, null where a result is outside the output
  Activation activation;
};

struct WinogradFunctions {
  // pixels: cells * cells; transformed: as many planes of `channels`, `step` apart.
  void (*cells)(const float* const* pixels, std::int64_t channels, float* transformed, std::int64_t step);
  void (*results)(const WinogradResults& tile);
  // count <= kWinogradLine kernels `step` apart, their nine weights at `taps`; transformed: cells * cells rows of
  // kWinogradLine. In double, rounded once.
  void (*weights)(const float* weights, std::int64_t step, const std::int64_t* taps, std::int64_t count,
                  float* transformed);
};

struct WinogradKernels {
  WinogradFunctions two, four, six;
  // The gradient of the weights, m = 4, `cells` of the input as above. `result_gradients` takes m * m pixels; its
  // counterpart turns sums of products, (m + 2)^2 planes `step` apart, into gradients: gradient[c * c_step + taps[t]].
  void (*result_gradients)(const float* const* pixels, std::int64_t channels, float* transformed, std::int64_t step);
  void (*weight_gradients)(const float* products, std::int64_t step, std::int64_t channels, std::int64_t c_step,
                           const std::int64_t* taps, float* gradient);
};
SACCADE_KERNELS(WinogradKernels, winograd_kernels)

}  // namespace saccade
