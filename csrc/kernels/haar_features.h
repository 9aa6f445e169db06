// Kernels of haar_features (csrc/ops/haar_features.h).
#pragma once

#include <cstdint>

#include "isa/isa.h"

namespace saccade {

// Features of one kind: value = sum over k < points of weights[k] * patch[offsets[k * stride + feature]].
struct HaarRun {
  const std::uint16_t* offsets;
  std::int64_t stride;
  const std::int32_t* weights;
  int points;
};

struct HaarKernels {
  void (*i32)(const HaarRun& run, const std::int32_t* patch, std::int64_t count, std::int32_t* values);
  void (*i64)(const HaarRun& run, const std::int64_t* patch, std::int64_t count, std::int64_t* values);
  void (*f64)(const HaarRun& run, const double* patch, std::int64_t count, double* values);
};
SACCADE_KERNELS(HaarKernels, haar_kernels)

}  // namespace saccade
