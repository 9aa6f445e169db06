// Intersection over union of two rotated rectangles: one text for the SIMD kernels (V a vector) and for CUDA (V a
// scalar).
//
// In the frame of the first box, |x| <= a and |y| <= b, the area of the intersection is the contour integral of
// clamp(x, -a, a) dy over the part of the second box's outline with |y| <= b (Green's theorem for a field whose
// divergence is 1 inside the first box). Each of the four sides gives one closed term, whatever it crosses: there are
// no vertices to find and to sort, and a small error in the input stays a small error in the area. The usual way (all
// intersections of sides, then a convex hull) needs tolerances, 24 points and a sort for each pair.
//
// Boxes are cx, cy, width, height, angle in degrees, counter-clockwise with y down: detectron2's and torchvision's.
#pragma once

#include <cmath>
#include <limits>

#include "common/macros.h"
#include "math/box_iou.h"

namespace saccade {

template <class V>
struct RotatedBox {
  V cx, cy, half_width, half_height, cos, sin;
  V area;    // width * height; at most kNoRotatedArea: overlaps nothing
  V radius;  // of the circle around it
};

constexpr double kNoRotatedArea = 1e-14;

template <class T>
SACCADE_HD RotatedBox<T> rotated_box(T cx, T cy, T width, T height, T angle) {
  const double radians = static_cast<double>(angle) * 0.017453292519943295;
  const T half_width = std::abs(width) / 2, half_height = std::abs(height) / 2;
  return {cx,
          cy,
          half_width,
          half_height,
          static_cast<T>(std::cos(radians)),
          static_cast<T>(std::sin(radians)),
          width * height,
          std::sqrt(half_width * half_width + half_height * half_height)};
}

// Whether the circles around the boxes are apart, which makes the IoU 0; false with a NaN.
template <class V>
SACCADE_HD auto rotated_far(const RotatedBox<V>& p, const RotatedBox<V>& q) {
  const V dx = q.cx - p.cx, dy = q.cy - p.cy, reach = p.radius + q.radius;
  return dx * dx + dy * dy > reach * reach * 1.0001f;
}

// The integral of clamp(x, -a, a) dy along the line from (x0, y0) to (x1, y1), where |y| <= b; x changes by `slope`
// with y.
template <class V>
SACCADE_HD V rotated_side(V x0, V y0, V y1, V slope, V a, V b) {
  const V from = greater(lesser(y0, b), -b), to = greater(lesser(y1, b), -b);
  const V start = x0 + (from - y0) * slope, end = x0 + (to - y0) * slope;
  const V low = lesser(start, end), high = greater(start, end), length = high - low;
  const V left = positive_part(lesser(high, -a) - low), right = positive_part(high - greater(low, a));
  const V inner_low = greater(lesser(low, a), -a), inner_high = greater(lesser(high, a), -a);
  const V sum = (right - left) * a + (inner_high - inner_low) * (inner_low + inner_high) * 0.5f;
  const V mean = length > V{} ? sum / length : inner_low;
  return (to - from) * mean;
}

// For boxes that are not far from each other.
template <class V>
SACCADE_HD V rotated_iou(const RotatedBox<V>& p, const RotatedBox<V>& q) {
  const V dx = q.cx - p.cx, dy = q.cy - p.cy;
  const V x = dx * p.cos - dy * p.sin, y = dx * p.sin + dy * p.cos;
  const V cos = p.cos * q.cos + p.sin * q.sin, sin = p.sin * q.cos - p.cos * q.sin;
  const V ux = cos * q.half_width, uy = sin * q.half_width, vx = -sin * q.half_height, vy = cos * q.half_height;
  // dx / dy of the sides along u and along v; a side that lies level contributes nothing.
  const V u_slope = uy != V{} ? ux / uy : V{}, v_slope = vy != V{} ? vx / vy : V{};
  const V a = p.half_width, b = p.half_height;
  V inter = rotated_side(x + ux + vx, y + uy + vy, y - uy + vy, u_slope, a, b) +
            rotated_side(x - ux + vx, y - uy + vy, y - uy - vy, v_slope, a, b) +
            rotated_side(x - ux - vx, y - uy - vy, y + uy - vy, u_slope, a, b) +
            rotated_side(x + ux - vx, y + uy - vy, y + uy + vy, v_slope, a, b);
  // What rounding leaves of boxes that only touch would suppress at a threshold of 0.
  using T = ElementOf<V>;
  const V rounding = (p.area + q.area) * (4 * std::numeric_limits<T>::epsilon());
  inter = inter > rounding ? lesser(inter, lesser(p.area, q.area)) : V{};
  // Clamping loses NaN; anything that is not finite comes back through differences that are otherwise zero.
  inter += (x - x) + (y - y) + (cos - cos) + (p.area - p.area) + (q.area - q.area);
  const auto iou = inter / (p.area + q.area - inter);
  return (p.area < static_cast<float>(kNoRotatedArea)) | (q.area < static_cast<float>(kNoRotatedArea)) ? V{} : iou;
}

}  // namespace saccade
