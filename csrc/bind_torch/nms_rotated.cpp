#include "ops/nms_rotated.h"

#include "bind_torch/tensor.h"

namespace saccade::bind_torch {
namespace {

Tensor nms_rotated(const Tensor& boxes, const Tensor& scores, double iou_threshold,
                   std::optional<std::int64_t> max_output) {
  return from_vector(saccade::nms_rotated(view(boxes), view(scores), iou_threshold, max_output));
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def("nms_rotated(Tensor boxes, Tensor scores, float iou_threshold, int? max_output=None) -> Tensor");
}

SACCADE_TORCH_CPU(m) { m.impl("nms_rotated", SACCADE_BOX(nms_rotated)); }

}  // namespace saccade::bind_torch
