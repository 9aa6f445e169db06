#include "ops/box_iou.h"

#include "bind_torch/tensor.h"

namespace saccade::bind_torch {
namespace {

ScalarType result_type(const TensorView& boxes) {
  return box_iou_dtype(boxes.dtype) == DType::kFloat64 ? ScalarType::Double : ScalarType::Float;
}

Tensor box_iou(const Tensor& boxes1, const Tensor& boxes2, std::int64_t kind, std::int64_t format, double eps) {
  const BoxIouOptions options = box_iou_options(kind, format, eps);
  const TensorView first = view(boxes1), second = view(boxes2);
  check_box_iou(first, second, options);
  Tensor out = empty(box_iou_shape(first, second), boxes1, result_type(first));
  saccade::box_iou(first, second, options, view(out));
  return out;
}

Tensor box_iou_backward(const Tensor& grad, const Tensor& boxes1, const Tensor& boxes2, std::int64_t kind,
                        std::int64_t format, double eps) {
  const BoxIouOptions options = box_iou_options(kind, format, eps);
  const TensorView first = view(boxes1), second = view(boxes2);
  check_box_iou_backward(view(grad), first, second, options);
  Tensor grad_boxes1 = empty({first.sizes, first.sizes + first.ndim}, boxes1);
  saccade::box_iou_backward(view(grad), first, second, options, view(grad_boxes1));
  return grad_boxes1;
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def("box_iou(Tensor boxes1, Tensor boxes2, int kind=0, int format=0, float eps=0.0) -> Tensor");
  m.def(
      "_box_iou_backward(Tensor grad, Tensor boxes1, Tensor boxes2, int kind=0, int format=0, float eps=0.0) -> "
      "Tensor");
}

SACCADE_TORCH_CPU(m) {
  m.impl("box_iou", SACCADE_BOX(box_iou));
  m.impl("_box_iou_backward", SACCADE_BOX(box_iou_backward));
}

}  // namespace saccade::bind_torch
