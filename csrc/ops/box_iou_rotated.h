// Intersection over union of rotated boxes: (n, 5) and (m, 5) as cx, cy, width, height, angle in degrees -> (n, m).
//
// Semantics of torchvision.ops.box_iou(fmt="cxcywhr") and detectron2's pairwise_iou_rotated: a box whose area is below
// 1e-14 overlaps nothing. Computed in float32 (float64 for float64 boxes) and returned so. NaN where a box that has an
// area holds NaN or infinity.
#pragma once

#include "common/tensor_view.h"

namespace saccade {

void check_box_iou_rotated(const TensorView& boxes1, const TensorView& boxes2);

// `iou` (n, m), contiguous: float64 for float64 boxes, else float32.
void box_iou_rotated(const TensorView& boxes1, const TensorView& boxes2, const TensorView& iou);

}  // namespace saccade
