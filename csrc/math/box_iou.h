// Intersection over union of two boxes and its three refinements, with their derivatives: one text for the SIMD kernels
// (V a vector) and for CUDA (V a scalar). The order of operations is that of torchvision.ops.boxes, which composes them
// from whole tensors, so that results agree bit for bit.
//
//   iou          I / U                     I: intersection, U: union
//   generalized  iou - (C - U) / C         C: area of the smallest box around both   (Rezatofighi et al., 2019)
//   distance     iou - r2 / (c2 + eps)     r2: squared distance of the centres, c2: squared diagonal of that box
//   complete     distance - alpha v        v = 4/pi^2 (atan(w/h) - atan(w'/h'))^2, alpha = v / (1 - iou + v + eps),
//                                          constant in the derivative                 (Zheng et al., 2020)
#pragma once

#include <cmath>
#include <type_traits>

#include "common/macros.h"

namespace saccade {

enum class BoxIouKind : int { kIou = 0, kGeneralized = 1, kDistance = 2, kComplete = 3 };
enum class BoxFormat : int { kXyxy = 0, kXywh = 1, kCxcywh = 2 };

// What a pair needs of each box. A: coordinates and areas; R: the result. They differ for integer boxes only, whose
// coordinates and areas are exact (double) while quotients are float32.
template <class A, class R>
struct PairBox {
  A x1, y1, x2, y2, area;
  R cx, cy, angle;  // angle = atan(w / h)
};

// What a pair needs of the box with the numbers p, q, r, s. A NaN in any of them reaches the result through the area.
template <class R, class A>
SACCADE_HD PairBox<A, R> pair_box(A p, A q, A r, A s, BoxIouKind kind, BoxFormat format) {
  PairBox<A, R> box = {p, q, r, s, A{}, R{}, R{}, R{}};
  A w = r, h = s;
  if (format == BoxFormat::kXyxy) {
    w = r - p, h = s - q;
  } else if (format == BoxFormat::kXywh) {
    box.x2 = p + w, box.y2 = q + h;
  } else {
    box.x1 = p - w / 2, box.y1 = q - h / 2, box.x2 = p + w / 2, box.y2 = q + h / 2;
  }
  const A sum = p + q + r + s;
  box.area = p != p || q != q || r != r || s != s ? sum : w * h;
  if (kind == BoxIouKind::kDistance || kind == BoxIouKind::kComplete) {
    box.cx = static_cast<R>(box.x1 + box.x2) / 2, box.cy = static_cast<R>(box.y1 + box.y2) / 2;
  }
  if (kind == BoxIouKind::kComplete) box.angle = std::atan(static_cast<R>(w) / static_cast<R>(h));
  return box;
}

// b where either is NaN. NaN still reaches the result: a box with a NaN has a NaN area.
template <class V>
SACCADE_HD V lesser(V a, V b) {
  return a < b ? a : b;
}
template <class V>
SACCADE_HD V greater(V a, V b) {
  return a > b ? a : b;
}
// max(0, x), NaN kept: inf - inf must not become an empty intersection.
template <class V>
SACCADE_HD V positive_part(V x) {
  return greater(V{}, x);
}

template <class R, class A>
SACCADE_HD R convert_to(A a) {
  if constexpr (std::is_same_v<A, R>) {
    return a;
  } else if constexpr (std::is_arithmetic_v<A>) {
    return static_cast<R>(a);
  } else {
#if !defined(__CUDACC__)
    return __builtin_convertvector(a, R);
#endif
  }
}

// The type of a vector's elements, or of the scalar itself.
template <class V>
auto element_of() {
  if constexpr (std::is_arithmetic_v<V>) {
    return V{};
  } else {
    return V{}[0];
  }
}
template <class V>
using ElementOf = std::remove_cvref_t<decltype(element_of<V>())>;

// One number in every element.
template <class V, class T>
SACCADE_HD V constant(T value) {
  if constexpr (std::is_arithmetic_v<V>) {
    return static_cast<V>(value);
  } else {
    return static_cast<ElementOf<V>>(value) - V{};
  }
}

constexpr double kFourOverPiSquared = 4.0 / (3.14159265358979323846 * 3.14159265358979323846);

template <BoxIouKind kind, class A, class R>
SACCADE_HD R pair_iou(const PairBox<A, R>& a, const PairBox<A, R>& b, R eps) {
  const A w = positive_part(lesser(a.x2, b.x2) - greater(a.x1, b.x1));
  const A h = positive_part(lesser(a.y2, b.y2) - greater(a.y1, b.y1));
  const A inter = w * h;
  const A around = a.area + b.area - inter;
  const R iou = convert_to<R>(inter) / convert_to<R>(around);
  if constexpr (kind == BoxIouKind::kIou) {
    return iou;
  } else {
    const A hull_w = positive_part(greater(a.x2, b.x2) - lesser(a.x1, b.x1));
    const A hull_h = positive_part(greater(a.y2, b.y2) - lesser(a.y1, b.y1));
    if constexpr (kind == BoxIouKind::kGeneralized) {
      const A hull = hull_w * hull_h;
      return iou - convert_to<R>(hull - around) / convert_to<R>(hull);
    } else {
      const R diagonal = convert_to<R>(hull_w * hull_w + hull_h * hull_h) + eps;
      const R dx = a.cx - b.cx, dy = a.cy - b.cy;
      const R distance_iou = iou - (dx * dx + dy * dy) / diagonal;
      if constexpr (kind == BoxIouKind::kDistance) {
        return distance_iou;
      } else {
        const R turn = a.angle - b.angle;
        const R v = constant<R>(kFourOverPiSquared) * (turn * turn);
        const R alpha = v / (constant<R>(1) - iou + v + eps);
        return distance_iou - alpha * v;
      }
    }
  }
}

// The share of a in the derivative of max(a, b): one half where they are equal, as torch.maximum has it.
template <class V>
SACCADE_HD V share_of_greater(V a, V b) {
  return a == b ? constant<V>(0.5) : (a < b ? V{} : constant<V>(1));
}
template <class V>
SACCADE_HD V share_of_lesser(V a, V b) {
  return share_of_greater(b, a);
}

// Adds to `sum` the derivative of grad * pair_iou(a, b) by each member of `a`. A side of length zero passes nothing on,
// as torch.clamp has it.
template <BoxIouKind kind, class V>
SACCADE_HD void pair_iou_backward(const PairBox<V, V>& a, const PairBox<V, V>& b, V grad, V eps, PairBox<V, V>& sum) {
  const V zero = V{}, two = constant<V>(2);
  const V raw_w = lesser(a.x2, b.x2) - greater(a.x1, b.x1), w = positive_part(raw_w);
  const V raw_h = lesser(a.y2, b.y2) - greater(a.y1, b.y1), h = positive_part(raw_h);
  const V inter = w * h;
  const V around = a.area + b.area - inter;
  const V iou = inter / around;
  V grad_around = -grad * (iou / around);
  V grad_hull_w = zero, grad_hull_h = zero;
  if constexpr (kind != BoxIouKind::kIou) {
    const V raw_hull_w = greater(a.x2, b.x2) - lesser(a.x1, b.x1), hull_w = positive_part(raw_hull_w);
    const V raw_hull_h = greater(a.y2, b.y2) - lesser(a.y1, b.y1), hull_h = positive_part(raw_hull_h);
    if constexpr (kind == BoxIouKind::kGeneralized) {
      const V hull = hull_w * hull_h;
      const V grad_hull = -grad / hull + grad * ((hull - around) / hull / hull);
      grad_around += grad / hull;
      grad_hull_w = grad_hull * hull_h;
      grad_hull_h = grad_hull * hull_w;
    } else {
      const V diagonal = hull_w * hull_w + hull_h * hull_h + eps;
      const V dx = a.cx - b.cx, dy = a.cy - b.cy;
      const V grad_diagonal = grad * ((dx * dx + dy * dy) / diagonal / diagonal);
      grad_hull_w = grad_diagonal * (two * hull_w);
      grad_hull_h = grad_diagonal * (two * hull_h);
      sum.cx -= grad / diagonal * (two * dx);
      sum.cy -= grad / diagonal * (two * dy);
      if constexpr (kind == BoxIouKind::kComplete) {
        const V turn = a.angle - b.angle;
        const V v = constant<V>(kFourOverPiSquared) * (turn * turn);
        const V alpha = v / (constant<V>(1) - iou + v + eps);
        sum.angle -= grad * alpha * (constant<V>(2 * kFourOverPiSquared) * turn);
      }
    }
    grad_hull_w = raw_hull_w > zero ? grad_hull_w : zero;
    grad_hull_h = raw_hull_h > zero ? grad_hull_h : zero;
    sum.x2 += grad_hull_w * share_of_greater(a.x2, b.x2);
    sum.x1 -= grad_hull_w * share_of_lesser(a.x1, b.x1);
    sum.y2 += grad_hull_h * share_of_greater(a.y2, b.y2);
    sum.y1 -= grad_hull_h * share_of_lesser(a.y1, b.y1);
  }
  const V grad_inter = grad / around - grad_around;
  const V grad_w = raw_w > zero ? grad_inter * h : zero;
  const V grad_h = raw_h > zero ? grad_inter * w : zero;
  sum.x2 += grad_w * share_of_lesser(a.x2, b.x2);
  sum.x1 -= grad_w * share_of_greater(a.x1, b.x1);
  sum.y2 += grad_h * share_of_lesser(a.y2, b.y2);
  sum.y1 -= grad_h * share_of_greater(a.y1, b.y1);
  sum.area += grad_around;
}

// From the derivatives by corners, area, centre and angle to those by the four numbers of the box.
template <class R>
SACCADE_HD void box_gradient(const PairBox<R, R>& box, const PairBox<R, R>& sum, BoxIouKind kind, BoxFormat format,
                             R* grad) {
  R x1 = sum.x1, y1 = sum.y1, x2 = sum.x2, y2 = sum.y2;
  const R w = box.x2 - box.x1, h = box.y2 - box.y1;
  R grad_w = sum.area * h, grad_h = sum.area * w;
  if (kind == BoxIouKind::kDistance || kind == BoxIouKind::kComplete) {
    x1 += sum.cx / 2, x2 += sum.cx / 2, y1 += sum.cy / 2, y2 += sum.cy / 2;
  }
  if (kind == BoxIouKind::kComplete) {
    const R ratio = w / h, grad_ratio = sum.angle / (ratio * ratio + 1);
    grad_w += grad_ratio / h, grad_h -= grad_ratio * (ratio / h);
  }
  if (format == BoxFormat::kXyxy) {
    grad[0] = x1 - grad_w, grad[1] = y1 - grad_h, grad[2] = x2 + grad_w, grad[3] = y2 + grad_h;
  } else if (format == BoxFormat::kXywh) {
    grad[0] = x1 + x2, grad[1] = y1 + y2, grad[2] = x2 + grad_w, grad[3] = y2 + grad_h;
  } else {
    grad[0] = x1 + x2, grad[1] = y1 + y2, grad[2] = (x2 - x1) / 2 + grad_w, grad[3] = (y2 - y1) / 2 + grad_h;
  }
}

}  // namespace saccade
