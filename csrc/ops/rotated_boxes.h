// Rotated boxes as the kernels take them.
#pragma once

#include <cstdint>

#include "common/scratch.h"
#include "common/tensor_view.h"
#include "kernels/rotated_boxes.h"
#include "math/half.h"
#include "math/rotated_box.h"

namespace saccade {

template <class A>
struct PreparedRotatedBoxes {
  Scratch<A> memory;
  RotatedBoxes<A> boxes;
};

// The rows of `rows` (n, 5), whose elements are T; in the given order of rows where there is one.
template <class T, class A = decltype(to_float(T{}))>
PreparedRotatedBoxes<A> prepare_rotated_boxes(const TensorView& rows, const std::uint32_t* order = nullptr) {
  const std::int64_t n = rows.size(0), stride = n + kRotatedPadding;
  PreparedRotatedBoxes<A> result{Scratch<A>(8 * static_cast<std::size_t>(stride)), {}};
  RotatedBoxes<A>& boxes = result.boxes;
  boxes.count = n;
  A* next = result.memory.data();
  for (A** array : {&boxes.cx, &boxes.cy, &boxes.half_width, &boxes.half_height, &boxes.cos, &boxes.sin, &boxes.area,
                    &boxes.radius}) {
    *array = next;
    for (std::int64_t i = n; i < stride; ++i) next[i] = 0;
    next += stride;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    const T* p = rows.ptr<T>() + (order == nullptr ? i : std::int64_t{order[i]}) * rows.stride(0);
    const auto at = [&](std::int64_t k) -> A { return to_float(p[k * rows.stride(1)]); };
    const RotatedBox<A> box = rotated_box<A>(at(0), at(1), at(2), at(3), at(4));
    boxes.cx[i] = box.cx, boxes.cy[i] = box.cy, boxes.cos[i] = box.cos, boxes.sin[i] = box.sin;
    boxes.half_width[i] = box.half_width, boxes.half_height[i] = box.half_height;
    boxes.area[i] = box.area, boxes.radius[i] = box.radius;
  }
  return result;
}

}  // namespace saccade
