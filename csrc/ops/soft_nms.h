// Soft non-maximum suppression (Bodla et al., 2017): overlapping boxes lose score instead of being dropped.
//
// Repeatedly takes the best box (ties to the lower index, NaN first) while a score of at least score_threshold is left,
// and multiplies every other score by
//   naive     0 where the IoU with the box taken is above iou_threshold (the candidate is dropped): nms
//   linear    1 - IoU where it is above iou_threshold
//   gaussian  exp(-IoU^2 / sigma) wherever boxes overlap
// A candidate whose score falls below score_threshold is dropped. A NaN IoU changes nothing. float32 (float64 for
// float64 boxes); the IoU is that of nms (csrc/ops/nms.h).
#pragma once

#include <cstdint>
#include <vector>

#include "common/tensor_view.h"
#include "kernels/soft_nms.h"

namespace saccade {

void check_soft_nms(const TensorView& boxes, const TensorView& scores, double iou_threshold, double sigma,
                    double score_threshold, std::int64_t method);

struct SoftNmsResult {
  std::vector<std::int64_t> keep;
  std::vector<double> scores;  // of the boxes kept, as they stood when each was taken
};

// `method`: a SoftNmsMethod.
SoftNmsResult soft_nms(const TensorView& boxes, const TensorView& scores, double iou_threshold, double sigma,
                       double score_threshold, std::int64_t method);

}  // namespace saccade
