// Kernels of hog (csrc/ops/hog.h).
#pragma once

#include <cstdint>

#include "isa/isa.h"
#include "math/hog.h"

namespace saccade {

constexpr std::int32_t kHogUnsure = -1;
constexpr std::int64_t kHogWidth = 10;

// A row of gradients and what they vote for, but for its first and last column; at least kHogWidth pixels. Row pointers
// are of the middle row, of each channel; `above` and `below` elements away are its neighbours, both 0 where the
// vertical gradient is none.
struct HogGradientRow {
  const void* const* rows;
  int channels;
  std::int64_t above, below;
  std::int64_t width;
  int bins;
  const double* cosines;  // of the bins' lower edges, from the second on
  const double* sines;
  double* magnitude;
  std::int32_t* bin;  // kHogUnsure where rounding could decide it, or where the gradient is not finite
};

// One block: `rows` runs of `run` values, `stride` apart, to `out` without gaps.
struct HogBlock {
  const double* values;
  std::int64_t rows, run, stride;
  HogNorm norm;
  double* out;
};

struct HogKernels {
  void (*gradients_u8)(const HogGradientRow& r);
  void (*gradients_f32)(const HogGradientRow& r);
  void (*gradients_f64)(const HogGradientRow& r);
  void (*normalise)(const HogBlock& b);
};
SACCADE_KERNELS(HogKernels, hog_kernels)

}  // namespace saccade
