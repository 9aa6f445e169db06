// Rotated boxes as a structure of arrays, for the kernels of box_iou_rotated and nms_rotated.
#pragma once

#include <cstdint>

namespace saccade {

// The arrays end in kRotatedPadding boxes more, which are zero.
constexpr std::int64_t kRotatedPadding = 16;

template <class T>
struct RotatedBoxes {
  T *cx, *cy, *half_width, *half_height, *cos, *sin, *area, *radius;
  std::int64_t count;
};

}  // namespace saccade
