#include "ops/nms.h"

#include "bind_torch/tensor.h"

namespace saccade::bind_torch {
namespace {

Tensor nms(const Tensor& boxes, const Tensor& scores, double iou_threshold, std::optional<std::int64_t> max_output) {
  return from_vector(saccade::nms(view(boxes), view(scores), iou_threshold, max_output));
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const Tensor& idxs, double iou_threshold,
                   std::optional<std::int64_t> max_output) {
  return from_vector(saccade::batched_nms(view(boxes), view(scores), view(idxs), iou_threshold, max_output));
}

std::tuple<Tensor, Tensor> nms_padded(const Tensor& boxes, const Tensor& scores, double iou_threshold,
                                      std::int64_t max_output, const std::optional<Tensor>& idxs) {
  check_nms_padded(view(boxes), view(scores), optional_view(idxs), iou_threshold, max_output);
  Tensor keep = empty({max_output}, boxes, ScalarType::Long), count = empty({}, boxes, ScalarType::Long);
  *view(count).ptr<std::int64_t>() =
      saccade::nms_padded(view(boxes), view(scores), optional_view(idxs), iou_threshold, view(keep));
  return {keep, count};
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def("nms(Tensor boxes, Tensor scores, float iou_threshold, int? max_output=None) -> Tensor");
  m.def("batched_nms(Tensor boxes, Tensor scores, Tensor idxs, float iou_threshold, int? max_output=None) -> Tensor");
  m.def(
      "nms_padded(Tensor boxes, Tensor scores, float iou_threshold, SymInt max_output, Tensor? idxs=None) -> "
      "(Tensor keep, Tensor count)");
}

SACCADE_TORCH_CPU(m) {
  m.impl("nms", SACCADE_BOX(nms));
  m.impl("batched_nms", SACCADE_BOX(batched_nms));
  m.impl("nms_padded", SACCADE_BOX(nms_padded));
}

}  // namespace saccade::bind_torch
