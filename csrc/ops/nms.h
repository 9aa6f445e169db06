// Greedy non-maximum suppression: kept indices, best first.
//
// boxes (n, 4) as x1, y1, x2, y2; scores (n,); both of one floating dtype. Semantics of torchvision.ops.nms on the CPU:
// candidates in descending order of score, ties to the lower index, NaN scores first; a candidate is dropped when its
// IoU with a kept box is strictly above iou_threshold. Area = (x2 - x1) * (y2 - y1); a NaN quotient never suppresses.
// IoU is computed in float32 (float64 for float64 boxes), rounded after each operation, and compared in float64.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/tensor_view.h"

namespace saccade {

void check_nms(const char* op, const TensorView& boxes, const TensorView& scores, double iou_threshold,
               std::optional<std::int64_t> max_output);

// At most max_output of them.
std::vector<std::int64_t> nms(const TensorView& boxes, const TensorView& scores, double iou_threshold,
                              std::optional<std::int64_t> max_output);

void check_batched_nms(const TensorView& boxes, const TensorView& scores, const TensorView& idxs, double iou_threshold,
                       std::optional<std::int64_t> max_output);

// Boxes suppress each other only where `idxs` (n,), of any dtype, are equal; NaN equals nothing.
std::vector<std::int64_t> batched_nms(const TensorView& boxes, const TensorView& scores, const TensorView& idxs,
                                      double iou_threshold, std::optional<std::int64_t> max_output);

void check_nms_padded(const TensorView& boxes, const TensorView& scores, const std::optional<TensorView>& idxs,
                      double iou_threshold, std::int64_t max_output);

// As nms, or as batched_nms where there are `idxs`, into `keep` (max_output,) int64 and contiguous; what is left is -1.
// Returns the number kept.
std::int64_t nms_padded(const TensorView& boxes, const TensorView& scores, const std::optional<TensorView>& idxs,
                        double iou_threshold, const TensorView& keep);

}  // namespace saccade
