// Registers of rotated boxes. For kernels only.
#pragma once

#include "isa/simd.h"
#include "kernels/rotated_boxes.h"
#include "math/rotated_box.h"

namespace saccade::SACCADE_ISA {

template <class T>
SACCADE_HD RotatedBox<Vec<T>> load_rotated(const RotatedBoxes<T>& boxes, std::int64_t i) {
  using V = Vec<T>;
  return {load<V>(boxes.cx + i),  load<V>(boxes.cy + i),  load<V>(boxes.half_width + i), load<V>(boxes.half_height + i),
          load<V>(boxes.cos + i), load<V>(boxes.sin + i), load<V>(boxes.area + i),       load<V>(boxes.radius + i)};
}

template <class T>
SACCADE_HD RotatedBox<Vec<T>> splat_rotated(const RotatedBoxes<T>& boxes, std::int64_t i) {
  using V = Vec<T>;
  return {splat<V>(boxes.cx[i]),  splat<V>(boxes.cy[i]),  splat<V>(boxes.half_width[i]), splat<V>(boxes.half_height[i]),
          splat<V>(boxes.cos[i]), splat<V>(boxes.sin[i]), splat<V>(boxes.area[i]),       splat<V>(boxes.radius[i])};
}

}  // namespace saccade::SACCADE_ISA
