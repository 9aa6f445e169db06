// Scores of a linear classifier on HOG blocks (csrc/ops/hog_detect.h).
#pragma once

#include <cstdint>

#include "isa/isa.h"

namespace saccade {

constexpr int kHogScoreRows = 8;  // rows of windows that a row of blocks is added to at a time

// A row of blocks, and the rows of windows that it is part of:
// scores[r][i] += sum over c < columns, k < values of planes[k][i + c * step] * coefficients[c][k][r].
struct HogScores {
  const float* planes;  // [values][plane], with `lanes` (rounded up to a register) + (columns - 1) * step columns
  std::int64_t plane;
  int columns, values;
  std::int64_t step;
  const float* coefficients;  // [columns][values][kHogScoreRows]
  std::int64_t lanes;
  float* scores[kHogScoreRows];
};

struct HogScoreKernels {
  void (*add)(const HogScores& s);
};
SACCADE_KERNELS(HogScoreKernels, hog_score_kernels)

}  // namespace saccade
