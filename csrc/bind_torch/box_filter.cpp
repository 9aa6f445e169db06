#include "ops/box_filter.h"

#include "bind_torch/tensor.h"
#include "ops/box_sum.h"

namespace saccade::bind_torch {
namespace {

Tensor box_filter(const Tensor& image, std::int64_t rows, std::int64_t columns) {
  const TensorView input = view(image);
  check_box_filter("box_filter", input, rows, columns);
  Tensor out = empty({input.sizes, input.sizes + input.ndim}, image);
  saccade::box_filter(input, rows, columns, view(out));
  return out;
}

Tensor box_sum(const Tensor& integral, const Tensor& boxes) {
  check_box_sum("box_sum", view(integral), view(boxes));
  Tensor sums = empty(box_sum_shape(view(integral), view(boxes)), integral);
  saccade::box_sum(view(integral), view(boxes), view(sums));
  return sums;
}

Tensor box_sum_backward(const Tensor& grad_sums, const Tensor& boxes, std::int64_t rows, std::int64_t columns) {
  const TensorView grad = view(grad_sums);
  std::vector<std::int64_t> shape(grad.sizes, grad.sizes + grad.ndim - 1);
  shape.insert(shape.end(), {rows, columns});
  Tensor grad_integral = empty(shape, grad_sums);
  saccade::box_sum_backward(grad, view(boxes), view(grad_integral));
  return grad_integral;
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def("box_filter(Tensor image, SymInt rows, SymInt columns) -> Tensor");
  m.def("box_sum(Tensor integral, Tensor boxes) -> Tensor");
  m.def("_box_sum_backward(Tensor grad_sums, Tensor boxes, SymInt rows, SymInt columns) -> Tensor");
}

SACCADE_TORCH_CPU(m) {
  m.impl("box_filter", SACCADE_BOX(box_filter));
  m.impl("box_sum", SACCADE_BOX(box_sum));
  m.impl("_box_sum_backward", SACCADE_BOX(box_sum_backward));
}

}  // namespace saccade::bind_torch
