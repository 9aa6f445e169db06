#include "cuda/kernels/box_sum.h"

#include "cuda/common/torch.h"
#include "ops/box_sum.h"

namespace saccade::cuda {
namespace {

Tensor box_sum(const Tensor& integral, const Tensor& boxes) {
  check_box_sum("box_sum", view(integral), view(boxes));
  const DeviceOf device(integral);
  const Tensor table = torch::stable::contiguous(integral), corners = torch::stable::contiguous(boxes);
  const Tensor sums = empty(box_sum_shape(view(integral), view(boxes)), integral);
  launch_box_sum(view(table), view(corners), view(sums), device.stream());
  return sums;
}

Tensor box_sum_backward(const Tensor& grad_sums, const Tensor& boxes, std::int64_t rows, std::int64_t columns) {
  const DeviceOf device(grad_sums);
  const Tensor grad = torch::stable::contiguous(grad_sums), corners = torch::stable::contiguous(boxes);
  const TensorView grad_view = view(grad);
  std::vector<std::int64_t> shape(grad_view.sizes, grad_view.sizes + grad_view.ndim - 1);
  shape.insert(shape.end(), {rows, columns});
  const Tensor grad_integral = empty(shape, grad_sums);
  const Tensor keys = empty({4 * boxes.size(0)}, boxes, ScalarType::Long);
  launch_box_sum_keys(view(corners), rows, columns, view(keys).ptr<std::int64_t>(), device.stream());
  const auto [sorted, order] = stable_sort(keys, 0, false);
  launch_box_sum_backward(grad_view, view(sorted).ptr<std::int64_t>(), view(order).ptr<std::int64_t>(),
                          view(grad_integral), device.stream());
  return grad_integral;
}

}  // namespace

SACCADE_TORCH_CUDA(m) {
  m.impl("box_sum", SACCADE_BOX(box_sum));
  m.impl("_box_sum_backward", SACCADE_BOX(box_sum_backward));
}

}  // namespace saccade::cuda
