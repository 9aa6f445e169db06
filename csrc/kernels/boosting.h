// Searching weak learners: the best split of weighted samples, feature by feature.
#pragma once

#include <cstdint>

#include "isa/isa.h"

namespace saccade {

constexpr std::int64_t kSortedLanes = 16;  // features whose orders stand side by side
constexpr std::int64_t kBins = 256;

// What a split is worth; samples carry signed weights s = y w, C is their sum and W that of |s| on one side.
// kError: |C_left - C_right|, so that (W - |C_left - C_right|) / 2 is the least weighted error of a stump.
// kSquares: C_left^2 / W_left + C_right^2 / W_right, what fitting a constant to each side takes off the squared error
// (and, but for constants, off the Gini impurity).
enum class SplitCriterion : int { kError = 0, kSquares = 1 };

// The best split of each feature: its worth and its place, or both -1.
struct Splits {
  float* worth;
  std::int32_t* place;
};

// Haar features of one kind on many windows, whose number is a multiple of 16: value of window i =
// scale[i] * sum over k < corners of weights[k] * sums[offsets[k * stride + feature] * windows + i].
struct HaarRows {
  const std::int32_t* sums;  // (points of the windows' integral images, windows)
  std::int64_t windows;
  const float* scale;
  const std::uint16_t* offsets;
  std::int64_t stride;
  const std::int32_t* weights;
  int corners;  // 6, 8 or 9
};

struct BoostingKernels {
  // Sixteen features: order[i * 16 + f] is the sample of rank i in feature f, bit f of open[i] says that a split
  // between the ranks i and i + 1 exists. A place is the rank before the split. The sum of all |s| is at most 2^30.
  void (*sorted16)(SplitCriterion, const std::uint16_t* order, const std::uint16_t* open, const std::int32_t* weights,
                   std::int64_t n, const Splits&);
  void (*sorted32)(SplitCriterion, const std::uint32_t* order, const std::uint16_t* open, const std::int32_t* weights,
                   std::int64_t n, const Splits&);
  // `count` features in rows of bins: bins[f * stride + i] for all samples, or for those named in `chosen` unless it is
  // null; weights[i] belongs to the i-th of them: (|s| << 32) + s. A place is the bin before the split.
  void (*binned)(SplitCriterion, const std::uint8_t* bins, std::int64_t stride, const std::int32_t* chosen,
                 const std::int64_t* weights, std::int64_t n, std::int64_t count, const Splits&);
  // Rows of `windows` values, out_stride apart, for `count` features.
  void (*haar_rows)(const HaarRows&, std::int64_t count, float* out, std::int64_t out_stride);
};
SACCADE_KERNELS(BoostingKernels, boosting_kernels)

}  // namespace saccade
