#include "ops/conv2d.h"

#include "bind_torch/memory_format.h"
#include "common/dispatch.h"
#include "cuda/common/torch.h"
#include "cuda/kernels/conv2d.h"
#include "math/half.h"

namespace saccade::cuda {
namespace {

using bind_torch::format_of, bind_torch::in_format, bind_torch::MemoryFormat, bind_torch::optional_view;
using Sizes = std::vector<std::int64_t>;
using OptionalTensor = std::optional<Tensor>;

// The weight in the kernels' order (cuda/kernels/conv2d.h), as one dimension.
Tensor pack(const Tensor& weight, const ConvShape& shape, bool for_gradient, cudaStream_t stream) {
  const Tensor ordered = view(weight).is_contiguous() ? weight : torch::stable::contiguous(weight);
  Tensor packed = empty({weight.numel()}, weight);
  dispatch_floating(view(weight).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch_conv2d_pack(shape, view(ordered).template ptr<const T>(), for_gradient, view(packed).template ptr<T>(),
                       stream);
  });
  return packed;
}

// bias, scale and shift come through the epilogue's views, the residual as a tensor, to be put in order.
Tensor convolve(const char* op, const Tensor& input, const Tensor& weight, const OptionalTensor& packed,
                const Sizes& stride, const Sizes& padding, const Sizes& dilation, std::int64_t groups,
                const ConvEpilogue& epilogue, const OptionalTensor& residual, const OptionalTensor& given = {}) {
  const ConvShape shape = check_conv2d(op, view(input), view(weight), stride, padding, dilation, groups);
  check_conv2d_epilogue(op, view(input), shape, epilogue);
  const DeviceOf device(input);
  const MemoryFormat format = format_of(input);
  const Tensor ordered = in_format(input, format);
  const OptionalTensor ordered_residual = residual ? OptionalTensor(in_format(*residual, format)) : std::nullopt;
  const Tensor weights = packed ? *packed : pack(weight, shape, false, device.stream());
  require(weights.numel() == weight.numel() && weights.scalar_type() == weight.scalar_type(), op,
          ": packed must be the weight packed for this shape, got ", weights.numel(), " elements");
  if (given)
    bind_torch::require_output(op, *given, {shape.images, shape.out_channels, shape.y.out, shape.x.out}, format, input);
  const Tensor out =
      given ? *given : empty({shape.images, shape.out_channels, shape.y.out, shape.x.out}, input, {}, format);
  const TensorView seen = view(input);
  dispatch_floating(seen.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const ConvTail<T> tail = {channel_parameter(epilogue.bias, seen), channel_parameter(epilogue.scale, seen),
                              channel_parameter(epilogue.shift, seen),
                              ordered_residual ? view(*ordered_residual).template ptr<const T>() : nullptr,
                              static_cast<Activation>(epilogue.activation)};
    launch_conv2d(shape, format == MemoryFormat::ChannelsLast, view(ordered).template ptr<const T>(),
                  view(weights).template ptr<const T>(), tail, view(out).template ptr<T>(), device.stream());
  });
  return out;
}

Tensor conv2d(const Tensor& input, const Tensor& weight, const OptionalTensor& bias, const OptionalTensor& packed,
              Sizes stride, Sizes padding, Sizes dilation, std::int64_t groups, std::int64_t) {
  ConvEpilogue epilogue;
  epilogue.bias = optional_view(bias);
  return convolve("conv2d", input, weight, packed, stride, padding, dilation, groups, epilogue, std::nullopt);
}

Tensor conv2d_fused(const Tensor& input, const Tensor& weight, const OptionalTensor& bias, const OptionalTensor& packed,
                    Sizes stride, Sizes padding, Sizes dilation, std::int64_t groups, std::int64_t,
                    const OptionalTensor& scale, const OptionalTensor& shift, const OptionalTensor& residual,
                    std::int64_t activation) {
  const ConvEpilogue epilogue = {optional_view(bias), optional_view(scale), optional_view(shift),
                                 optional_view(residual), activation};
  return convolve("conv2d_fused", input, weight, packed, stride, padding, dilation, groups, epilogue, residual);
}

void conv2d_fused_out(const Tensor& input, const Tensor& weight, const OptionalTensor& bias,
                      const OptionalTensor& packed, Sizes stride, Sizes padding, Sizes dilation, std::int64_t groups,
                      std::int64_t, const OptionalTensor& scale, const OptionalTensor& shift,
                      const OptionalTensor& residual, std::int64_t activation, const Tensor& out) {
  const ConvEpilogue epilogue = {optional_view(bias), optional_view(scale), optional_view(shift),
                                 optional_view(residual), activation};
  convolve("conv2d_fused", input, weight, packed, stride, padding, dilation, groups, epilogue, residual, out);
}

Tensor conv2d_pack(const Tensor& weight, Sizes input_shape, bool, Sizes stride, Sizes padding, Sizes dilation,
                   std::int64_t groups, std::int64_t) {
  TensorView input = view(weight);
  require(input_shape.size() == 4, "conv2d: input_shape must be four numbers, got ", input_shape.size());
  input.ndim = 4;
  std::copy(input_shape.begin(), input_shape.end(), input.sizes);
  const ConvShape shape = check_conv2d("conv2d", input, view(weight), stride, padding, dilation, groups);
  const DeviceOf device(weight);
  return pack(weight, shape, false, device.stream());
}

std::tuple<Tensor, Tensor, Tensor> conv2d_backward(const Tensor& grad, const Tensor& input, const Tensor& weight,
                                                   Sizes stride, Sizes padding, Sizes dilation, std::int64_t groups,
                                                   std::vector<bool> needed, std::int64_t algorithm_number) {
  const ConvShape shape = check_conv2d("conv2d", view(input), view(weight), stride, padding, dilation, groups);
  check_conv2d_grad("conv2d", view(grad), view(input), shape);
  check_conv2d_weight_algorithm("conv2d", algorithm_number, shape, view(input).dtype);
  const DeviceOf device(input);
  const MemoryFormat format = format_of(input);
  const bool last = format == MemoryFormat::ChannelsLast;
  const Tensor grads = in_format(grad, format), inputs = in_format(input, format);
  Tensor grad_input = empty({0}, input), grad_weight = empty({0}, weight), grad_bias = empty({0}, weight);
  dispatch_floating(view(input).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const T* grad_data = view(grads).template ptr<const T>();
    if (needed.at(0)) {
      grad_input = empty({shape.images, shape.channels, shape.y.in, shape.x.in}, input, {}, format);
      const Tensor packed = pack(weight, shape, true, device.stream());
      launch_conv2d_backward_input(shape, last, grad_data, view(packed).template ptr<const T>(), ConvTail<T>{},
                                   view(grad_input).template ptr<T>(), device.stream());
    }
    if (needed.at(1)) {
      grad_weight = empty({shape.out_channels, shape.group_channels(), shape.y.kernel, shape.x.kernel}, weight);
      const Tensor partials = scratch<A>(conv2d_weight_chunks(shape, last).chunks * weight.numel(), input);
      launch_conv2d_backward_weight(shape, last, grad_data, view(inputs).template ptr<const T>(),
                                    view(partials).template ptr<A>(), view(grad_weight).template ptr<T>(),
                                    device.stream());
    }
    if (needed.at(2)) {
      grad_bias = empty({shape.out_channels}, weight);
      const Tensor partials = scratch<A>(conv2d_bias_chunks(shape, last).chunks * shape.out_channels, input);
      launch_conv2d_backward_bias(shape, last, grad_data, view(partials).template ptr<A>(),
                                  view(grad_bias).template ptr<T>(), device.stream());
    }
  });
  return {grad_input, in_format(grad_weight, format_of(weight)), grad_bias};
}

}  // namespace

SACCADE_TORCH_CUDA(m) {
  m.impl("conv2d", SACCADE_BOX(conv2d));
  m.impl("conv2d_fused", SACCADE_BOX(conv2d_fused));
  m.impl("_conv2d_fused_out", SACCADE_BOX(conv2d_fused_out));
  m.impl("_conv2d_pack", SACCADE_BOX(conv2d_pack));
  m.impl("_conv2d_backward", SACCADE_BOX(conv2d_backward));
}

}  // namespace saccade::cuda
