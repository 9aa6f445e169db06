#include "ops/max_pool2d.h"

#include "bind_torch/memory_format.h"
#include "common/dispatch.h"
#include "cuda/common/torch.h"
#include "cuda/kernels/max_pool2d.h"

namespace saccade::cuda {
namespace {

using bind_torch::format_of, bind_torch::in_format, bind_torch::MemoryFormat;

std::tuple<Tensor, Tensor> pool(const char* op, bool minimum, const Tensor& input, const Pair& kernel_size,
                                const Pair& stride, const Pair& padding, const Pair& dilation, bool ceil_mode,
                                bool return_indices) {
  const WindowShape shape = check_pool2d(op, view(input), kernel_size, stride, padding, dilation, ceil_mode);
  const DeviceOf device(input);
  const MemoryFormat format = format_of(input);
  const Tensor ordered = in_format(input, format);
  const std::vector<std::int64_t> sizes = {input.size(0), input.size(1), shape.y.out, shape.x.out};
  Tensor out = empty(sizes, input, {}, format);
  Tensor indices = return_indices ? empty(sizes, input, ScalarType::Long, format) : empty({0}, input, ScalarType::Long);
  dispatch_floating(view(input).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch_max_pool2d(view(ordered).template ptr<const T>(), shape, input.size(0), input.size(1),
                      format == MemoryFormat::ChannelsLast, minimum, view(out).template ptr<T>(),
                      return_indices ? view(indices).template ptr<std::int64_t>() : nullptr, device.stream());
  });
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
  const DeviceOf device(grad);
  const MemoryFormat format = channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  Tensor grad_input = empty(input_shape, grad, {}, format);
  const WindowShape shape =
      check_pool2d("max_pool2d", view(grad_input), kernel_size, stride, padding, dilation, ceil_mode);
  check_max_pool2d_backward(view(grad), view(indices), view(grad_input), shape);
  const MemoryFormat layout = format_of(grad_input);
  const Tensor ordered_grad = in_format(grad, layout), ordered_indices = in_format(indices, layout);
  dispatch_floating(view(grad).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch_max_pool2d_backward(view(ordered_grad).template ptr<const T>(),
                               view(ordered_indices).template ptr<const std::int64_t>(), shape, grad_input.size(0),
                               grad_input.size(1), layout == MemoryFormat::ChannelsLast,
                               view(grad_input).template ptr<T>(), device.stream());
  });
  return grad_input;
}

}  // namespace

SACCADE_TORCH_CUDA(m) {
  m.impl("max_pool2d", SACCADE_BOX(max_pool2d));
  m.impl("min_pool2d", SACCADE_BOX(min_pool2d));
  m.impl("_max_pool2d_backward", SACCADE_BOX(max_pool2d_backward));
}

}  // namespace saccade::cuda
