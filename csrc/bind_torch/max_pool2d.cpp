#include "ops/max_pool2d.h"

#include "bind_torch/memory_format.h"

namespace saccade::bind_torch {
namespace {

std::tuple<Tensor, Tensor> pool(const char* op, bool minimum, const Tensor& input, const Pair& kernel_size,
                                const Pair& stride, const Pair& padding, const Pair& dilation, bool ceil_mode,
                                bool return_indices) {
  const WindowShape shape = check_pool2d(op, view(input), kernel_size, stride, padding, dilation, ceil_mode);
  const MemoryFormat format = format_of(input);
  const Tensor ordered = in_format(input, format);
  const std::vector<std::int64_t> sizes = {input.size(0), input.size(1), shape.y.out, shape.x.out};
  Tensor out = empty(sizes, input, {}, format);
  Tensor indices = return_indices ? empty(sizes, input, ScalarType::Long, format) : empty({0}, input, ScalarType::Long);
  saccade::max_pool2d(view(ordered), shape, minimum, view(out), return_indices ? view(indices) : TensorView{});
  return {out, indices};
}

std::tuple<Tensor, Tensor> max_pool2d(const Tensor& input, std::vector<std::int64_t> kernel_size,
                                      std::vector<std::int64_t> stride, std::vector<std::int64_t> padding,
                                      std::vector<std::int64_t> dilation, bool ceil_mode, bool return_indices) {
  return pool("max_pool2d", false, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices);
}

std::tuple<Tensor, Tensor> min_pool2d(const Tensor& input, std::vector<std::int64_t> kernel_size,
                                      std::vector<std::int64_t> stride, std::vector<std::int64_t> padding,
                                      std::vector<std::int64_t> dilation, bool ceil_mode, bool return_indices) {
  return pool("min_pool2d", true, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices);
}

Tensor max_pool2d_backward(const Tensor& grad, const Tensor& indices, std::vector<std::int64_t> input_shape,
                           std::vector<std::int64_t> kernel_size, std::vector<std::int64_t> stride,
                           std::vector<std::int64_t> padding, std::vector<std::int64_t> dilation, bool ceil_mode,
                           bool channels_last) {
  const MemoryFormat format = channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  Tensor grad_input = empty(input_shape, grad, {}, format);
  const WindowShape shape =
      check_pool2d("max_pool2d", view(grad_input), kernel_size, stride, padding, dilation, ceil_mode);
  const MemoryFormat layout = format_of(grad_input);
  const Tensor ordered_grad = in_format(grad, layout), ordered_indices = in_format(indices, layout);
  saccade::max_pool2d_backward(view(ordered_grad), view(ordered_indices), shape, view(grad_input));
  return grad_input;
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "max_pool2d(Tensor input, SymInt[] kernel_size, SymInt[] stride, SymInt[] padding, SymInt[] dilation, "
      "bool ceil_mode, bool return_indices) -> (Tensor, Tensor)");
  m.def(
      "min_pool2d(Tensor input, SymInt[] kernel_size, SymInt[] stride, SymInt[] padding, SymInt[] dilation, "
      "bool ceil_mode, bool return_indices) -> (Tensor, Tensor)");
  m.def(
      "_max_pool2d_backward(Tensor grad, Tensor indices, SymInt[] input_shape, SymInt[] kernel_size, SymInt[] stride, "
      "SymInt[] padding, SymInt[] dilation, bool ceil_mode, bool channels_last) -> Tensor");
}

SACCADE_TORCH_CPU(m) {
  m.impl("max_pool2d", SACCADE_BOX(max_pool2d));
  m.impl("min_pool2d", SACCADE_BOX(min_pool2d));
  m.impl("_max_pool2d_backward", SACCADE_BOX(max_pool2d_backward));
}

}  // namespace saccade::bind_torch
