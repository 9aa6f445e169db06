// What stands outside an image.
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace saccade {

// Reflection that does not repeat the edge (OpenCV's BORDER_REFLECT_101, NumPy's "reflect"), as often as it takes.
SACCADE_HD std::int64_t reflect_101(std::int64_t i, std::int64_t size) {
  if (size == 1) return 0;
  const std::int64_t period = 2 * (size - 1);
  i %= period;
  if (i < 0) i += period;
  return i < size ? i : period - i;
}

}  // namespace saccade
