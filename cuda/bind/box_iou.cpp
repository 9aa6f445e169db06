#include "cuda/kernels/box_iou.h"

#include "cuda/common/torch.h"

namespace saccade::cuda {
namespace {

Tensor box_iou(const Tensor& boxes1, const Tensor& boxes2, std::int64_t kind, std::int64_t format, double eps) {
  const BoxIouOptions options = box_iou_options(kind, format, eps);
  const TensorView first = view(boxes1), second = view(boxes2);
  check_box_iou(first, second, options);
  const DeviceOf device(boxes1);
  const bool is_double = box_iou_dtype(first.dtype) == DType::kFloat64;
  const Tensor out = empty(box_iou_shape(first, second), boxes1, is_double ? ScalarType::Double : ScalarType::Float);
  launch_box_iou(first, second, options, view(out), device.stream());
  return out;
}

Tensor box_iou_backward(const Tensor& grad, const Tensor& boxes1, const Tensor& boxes2, std::int64_t kind,
                        std::int64_t format, double eps) {
  const BoxIouOptions options = box_iou_options(kind, format, eps);
  const TensorView first = view(boxes1), second = view(boxes2);
  check_box_iou_backward(view(grad), first, second, options);
  const DeviceOf device(boxes1);
  const Tensor grad_boxes1 = empty({first.sizes, first.sizes + first.ndim}, boxes1);
  launch_box_iou_backward(view(grad), first, second, options, view(grad_boxes1), device.stream());
  return grad_boxes1;
}

}  // namespace

SACCADE_TORCH_CUDA(m) {
  m.impl("box_iou", SACCADE_BOX(box_iou));
  m.impl("_box_iou_backward", SACCADE_BOX(box_iou_backward));
}

}  // namespace saccade::cuda
