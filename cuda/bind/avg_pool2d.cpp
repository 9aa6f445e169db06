#include "ops/avg_pool2d.h"

#include "bind_torch/memory_format.h"
#include "common/dispatch.h"
#include "cuda/common/torch.h"
#include "cuda/kernels/avg_pool2d.h"

namespace saccade::cuda {
namespace {

using bind_torch::format_of, bind_torch::in_format, bind_torch::MemoryFormat;

template <class Check>
Tensor pool(const Tensor& input, const Check& check) {
  const MeanShape shape = check(view(input));
  const DeviceOf device(input);
  const MemoryFormat format = format_of(input);
  const Tensor ordered = in_format(input, format);
  Tensor out = empty({input.size(0), input.size(1), shape.y.window.out, shape.x.window.out}, input, {}, format);
  dispatch_floating(view(input).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch_avg_pool2d(view(ordered).template ptr<const T>(), shape, input.size(0), input.size(1),
                      format == MemoryFormat::ChannelsLast, view(out).template ptr<T>(), device.stream());
  });
  return out;
}

template <class Check>
Tensor pool_backward(const char* op, const Tensor& grad, const std::vector<std::int64_t>& input_shape,
                     bool channels_last, const Check& check) {
  const DeviceOf device(grad);
  Tensor grad_input =
      empty(input_shape, grad, {}, channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
  const MeanShape shape = check(view(grad_input));
  check_avg_pool2d_backward(op, view(grad), view(grad_input), shape);
  const MemoryFormat layout = format_of(grad_input);
  const Tensor ordered = in_format(grad, layout);
  dispatch_floating(view(grad).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch_avg_pool2d_backward(view(ordered).template ptr<const T>(), shape, grad_input.size(0), grad_input.size(1),
                               layout == MemoryFormat::ChannelsLast, view(grad_input).template ptr<T>(),
                               device.stream());
  });
  return grad_input;
}

Tensor avg_pool2d(const Tensor& input, std::vector<std::int64_t> kernel_size, std::vector<std::int64_t> stride,
                  std::vector<std::int64_t> padding, bool ceil_mode, bool count_include_pad,
                  std::optional<std::int64_t> divisor_override) {
  return pool(input, [&](const TensorView& seen) {
    return check_avg_pool2d(seen, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override);
  });
}

Tensor avg_pool2d_backward(const Tensor& grad, std::vector<std::int64_t> input_shape,
                           std::vector<std::int64_t> kernel_size, std::vector<std::int64_t> stride,
                           std::vector<std::int64_t> padding, bool ceil_mode, bool count_include_pad,
                           std::optional<std::int64_t> divisor_override, bool channels_last) {
  return pool_backward("avg_pool2d", grad, input_shape, channels_last, [&](const TensorView& input) {
    return check_avg_pool2d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override);
  });
}

Tensor adaptive_avg_pool2d(const Tensor& input, std::vector<std::int64_t> output_size) {
  return pool(input, [&](const TensorView& seen) { return check_adaptive_avg_pool2d(seen, output_size); });
}

Tensor adaptive_avg_pool2d_backward(const Tensor& grad, std::vector<std::int64_t> input_shape,
                                    std::vector<std::int64_t> output_size, bool channels_last) {
  return pool_backward("adaptive_avg_pool2d", grad, input_shape, channels_last,
                       [&](const TensorView& input) { return check_adaptive_avg_pool2d(input, output_size); });
}

}  // namespace

SACCADE_TORCH_CUDA(m) {
  m.impl("avg_pool2d", SACCADE_BOX(avg_pool2d));
  m.impl("_avg_pool2d_backward", SACCADE_BOX(avg_pool2d_backward));
  m.impl("adaptive_avg_pool2d", SACCADE_BOX(adaptive_avg_pool2d));
  m.impl("_adaptive_avg_pool2d_backward", SACCADE_BOX(adaptive_avg_pool2d_backward));
}

}  // namespace saccade::cuda
