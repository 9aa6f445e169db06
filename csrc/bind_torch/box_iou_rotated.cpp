#include "ops/box_iou_rotated.h"

#include "bind_torch/tensor.h"

namespace saccade::bind_torch {
namespace {

Tensor box_iou_rotated(const Tensor& boxes1, const Tensor& boxes2) {
  check_box_iou_rotated(view(boxes1), view(boxes2));
  const bool is_double = boxes1.scalar_type() == ScalarType::Double;
  Tensor iou = empty({boxes1.size(0), boxes2.size(0)}, boxes1, is_double ? ScalarType::Double : ScalarType::Float);
  saccade::box_iou_rotated(view(boxes1), view(boxes2), view(iou));
  return iou;
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) { m.def("box_iou_rotated(Tensor boxes1, Tensor boxes2) -> Tensor"); }

SACCADE_TORCH_CPU(m) { m.impl("box_iou_rotated", SACCADE_BOX(box_iou_rotated)); }

}  // namespace saccade::bind_torch
