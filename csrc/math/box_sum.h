// Rectangles of an integral image.
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace saccade {

struct Rectangle {
  std::int64_t x1, y1, x2, y2;
};

// A box clipped to the image, all zeros where nothing is left.
template <class I>
SACCADE_HD Rectangle clip_rectangle(I x1, I y1, I x2, I y2, std::int64_t width, std::int64_t height) {
  Rectangle r = {x1 < 0 ? 0 : x1, y1 < 0 ? 0 : y1, x2 > width ? width : x2, y2 > height ? height : y2};
  if (r.x2 <= r.x1 || r.y2 <= r.y1) r = {0, 0, 0, 0};
  return r;
}

}  // namespace saccade
