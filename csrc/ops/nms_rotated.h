// Greedy non-maximum suppression of rotated boxes (n, 5), cx, cy, width, height, angle in degrees: kept indices, best
// first. The rules of nms (csrc/ops/nms.h) with the IoU of csrc/ops/box_iou_rotated.h, a NaN of which never suppresses.
// The threshold is exclusive, as in detectron2's CUDA kernel (its CPU kernel includes it).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/tensor_view.h"

namespace saccade {

void check_nms_rotated(const TensorView& boxes, const TensorView& scores, double iou_threshold,
                       std::optional<std::int64_t> max_output);

std::vector<std::int64_t> nms_rotated(const TensorView& boxes, const TensorView& scores, double iou_threshold,
                                      std::optional<std::int64_t> max_output);

}  // namespace saccade
