// The geometry of deformable convolution, for the kernels of both devices.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/macros.h"
#include "math/conv2d.h"

namespace saccade {

struct DeformShape {
  ConvShape conv;
  std::int64_t offset_groups;

  // Channels that share their offsets.
  constexpr std::int64_t offset_channels() const { return conv.channels / offset_groups; }
  constexpr std::int64_t results() const { return conv.y.out * conv.x.out; }
  constexpr std::int64_t cells() const { return conv.y.in * conv.x.in; }
};

// Where tap i of result p lies on one axis.
template <class A>
SACCADE_HD A deformed_position(const WindowAxis& axis, std::int64_t p, std::int64_t i, A offset) {
  return A(window_start(axis, p) + i * axis.dilation) + offset;
}

// A position between four cells (corner 0 above left, 1 above right, 2 below left, 3 below right), of which some or all
// may lie outside the map: those are zero. A position that is not finite has no cells.
template <class A>
struct BilinearPoint {
  std::int64_t y, x;  // corner 0
  A down, right;      // the distance from it
  unsigned corners;   // a bit for each that lies on the map
  // Outside, the value is zero by definition; on the border (-1 exactly) the gradients still see the cells.
  bool inside;
};
template <class A>
SACCADE_HD bool has_corner(const BilinearPoint<A>& point, int corner) {
  return (point.corners >> corner & 1u) != 0;
}
template <class A>
SACCADE_HD A corner_weight(const BilinearPoint<A>& point, int corner) {
  return (corner < 2 ? A(1) - point.down : point.down) * (corner % 2 == 0 ? A(1) - point.right : point.right);
}

template <class A>
SACCADE_HD BilinearPoint<A> bilinear_point(A y, A x, std::int64_t h, std::int64_t w) {
  if (!(y >= A(-1) && y < A(h) && x >= A(-1) && x < A(w))) return {0, 0, A(0), A(0), 0, false};
  const A top = std::floor(y), left = std::floor(x);
  const std::int64_t y0 = std::int64_t(top), x0 = std::int64_t(left);
  const bool above = y0 >= 0, below = y0 + 1 < h, before = x0 >= 0, after = x0 + 1 < w;
  const unsigned corners = unsigned(above && before) | unsigned(above && after) << 1 | unsigned(below && before) << 2 |
                           unsigned(below && after) << 3;
  return {y0, x0, y - top, x - left, corners, y > A(-1) && x > A(-1)};
}

// What the gradients of an offset and a mask are made of: products[k] is the sum over channels of the sample's gradient
// times corner k.
template <class A>
struct DeformGradient {
  A y, x, mask;
};
template <class A>
SACCADE_HD DeformGradient<A> deform_gradient(const BilinearPoint<A>& point, A mask, const A* products) {
  A value(0);
  for (int k = 0; k < 4; ++k)
    if (has_corner(point, k)) value += corner_weight(point, k) * products[k];
  const A left = A(1) - point.right, top = A(1) - point.down;
  return {mask * (left * (products[2] - products[0]) + point.right * (products[3] - products[1])),
          mask * (top * (products[1] - products[0]) + point.down * (products[3] - products[2])),
          point.inside ? value : A(0)};
}

}  // namespace saccade
