// Bilinear samples of uint8 images as OpenCV's INTER_LINEAR_EXACT has them.
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace saccade {

// Between two rows and two of their elements, with weights out of 256: exact until its one rounding.
SACCADE_HD unsigned linear_exact_sample(const std::uint8_t* above, const std::uint8_t* below, std::int64_t left,
                                        std::int64_t right, unsigned weight_right, unsigned weight_below) {
  const unsigned first = above[left] * (256 - weight_below) + below[left] * weight_below;
  const unsigned second = above[right] * (256 - weight_below) + below[right] * weight_below;
  return (first * (256 - weight_right) + second * weight_right + (1u << 15)) >> 16;
}

}  // namespace saccade
