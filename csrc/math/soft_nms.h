// The overlap of soft_nms (csrc/ops/soft_nms.h): one text for the SIMD kernels (V a vector) and for CUDA (V a scalar).
#pragma once

#include "common/macros.h"
#include "math/box_iou.h"

namespace saccade {

enum class SoftNmsMethod : int { kNaive = 0, kLinear = 1, kGaussian = 2 };

// The box that a round takes.
template <class V>
struct SoftNmsTaken {
  V x1, y1, x2, y2, area;
};

// NaN where either box holds NaN, and for two boxes without area.
template <class V>
SACCADE_HD V soft_nms_iou(const SoftNmsTaken<V>& taken, V x1, V y1, V x2, V y2) {
  const V w = greater(lesser(x2, taken.x2) - greater(x1, taken.x1), V{});
  const V h = greater(lesser(y2, taken.y2) - greater(y1, taken.y1), V{});
  const V inter = w * h;
  return inter / (taken.area + (x2 - x1) * (y2 - y1) - inter);
}

}  // namespace saccade
