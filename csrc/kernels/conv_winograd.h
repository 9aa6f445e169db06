// Kernels of Winograd's convolution (csrc/ops/conv_winograd.h), float32, channels innermost. `cells` is m + 2.
#pragma once

#include <cstdint>

#include "isa/isa.h"
#include "math/activation.h"

namespace saccade {

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
};

struct WinogradKernels {
  WinogradFunctions two, four, six;
};
SACCADE_KERNELS(WinogradKernels, winograd_kernels)

}  // namespace saccade
