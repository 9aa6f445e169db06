// What the suppression operators share: their checks, the order in which they visit candidates, the threshold.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>

#include "common/scratch.h"
#include "common/tensor_view.h"

namespace saccade {

// Boxes are numbered by 32 bits, and their coordinates by the signed 32-bit offsets of the gather instructions.
constexpr std::int64_t kMaxBoxes = std::int64_t{1} << 29;

// Checks everything but the shape of the boxes, which are one to a row.
void check_suppression(const char* op, const TensorView& boxes, const TensorView& scores, double iou_threshold,
                       std::optional<std::int64_t> max_output);

// Indices of `scores` (one-dimensional, any floating dtype, at most kMaxBoxes) in descending order: NaN first, equal
// scores (and -0 and 0) by index. torch.sort(descending=True, stable=True) gives the same.
Scratch<std::uint32_t> score_order(const TensorView& scores);

// x > largest_not_above<T>(threshold) decides as double(x) > threshold does, for every x of type T.
template <class T>
T largest_not_above(double threshold) {
  const T rounded = static_cast<T>(threshold);
  return static_cast<double>(rounded) > threshold ? std::nextafter(rounded, -std::numeric_limits<T>::infinity())
                                                  : rounded;
}

}  // namespace saccade
