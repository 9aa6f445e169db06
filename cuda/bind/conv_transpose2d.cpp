#include "ops/conv_transpose2d.h"

#include "bind_torch/memory_format.h"
#include "common/dispatch.h"
#include "cuda/common/torch.h"
#include "cuda/kernels/conv_transpose2d.h"
#include "math/half.h"

namespace saccade::cuda {
namespace {

using bind_torch::format_of, bind_torch::in_format, bind_torch::MemoryFormat;
using Sizes = std::vector<std::int64_t>;
using OptionalTensor = std::optional<Tensor>;

constexpr const char* kOp = "conv_transpose2d";

// The weight in the kernels' order (cuda/kernels/conv2d.h): of the gradient for the forward, and the other way round.
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

std::optional<TensorView> optional_view(const OptionalTensor& tensor) {
  return tensor ? std::optional(view(*tensor)) : std::nullopt;
}

Tensor run(const Tensor& input, const Tensor& weight, const OptionalTensor& packed, const Sizes& stride,
           const Sizes& padding, const Sizes& output_padding, std::int64_t groups, const Sizes& dilation,
           const ConvEpilogue& epilogue) {
  const ConvShape shape =
      check_conv_transpose2d(kOp, view(input), view(weight), stride, padding, output_padding, groups, dilation);
  check_conv2d_epilogue(kOp, view(input), turned(shape), epilogue);
  const DeviceOf device(input);
  const MemoryFormat format = format_of(input);
  const Tensor ordered = in_format(input, format);
  const Tensor weights = packed ? *packed : pack(weight, shape, true, device.stream());
  require(weights.numel() == weight.numel() && weights.scalar_type() == weight.scalar_type(), kOp,
          ": packed must be the weight packed for this shape, got ", weights.numel(), " elements");
  Tensor out = empty({shape.images, shape.channels, shape.y.in, shape.x.in}, input, {}, format);
  const TensorView seen = view(input);
  dispatch_floating(seen.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const ConvTail<T> tail = {channel_parameter(epilogue.bias, seen), channel_parameter(epilogue.scale, seen),
                              channel_parameter(epilogue.shift, seen), nullptr,
                              static_cast<Activation>(epilogue.activation)};
    launch_conv_transpose2d(shape, format == MemoryFormat::ChannelsLast, view(ordered).template ptr<const T>(),
                            view(weights).template ptr<const T>(), tail, view(out).template ptr<T>(), device.stream());
  });
  return out;
}

Tensor conv_transpose2d(const Tensor& input, const Tensor& weight, const OptionalTensor& bias,
                        const OptionalTensor& packed, Sizes stride, Sizes padding, Sizes output_padding,
                        std::int64_t groups, Sizes dilation) {
  ConvEpilogue epilogue;
  epilogue.bias = optional_view(bias);
  return run(input, weight, packed, stride, padding, output_padding, groups, dilation, epilogue);
}

Tensor conv_transpose2d_fused(const Tensor& input, const Tensor& weight, const OptionalTensor& bias,
                              const OptionalTensor& packed, Sizes stride, Sizes padding, Sizes output_padding,
                              std::int64_t groups, Sizes dilation, const OptionalTensor& scale,
                              const OptionalTensor& shift, std::int64_t activation) {
  const ConvEpilogue epilogue = {optional_view(bias), optional_view(scale), optional_view(shift), std::nullopt,
                                 activation};
  return run(input, weight, packed, stride, padding, output_padding, groups, dilation, epilogue);
}

Tensor conv_transpose2d_pack(const Tensor& weight, Sizes input_shape, bool, Sizes stride, Sizes padding,
                             Sizes output_padding, std::int64_t groups, Sizes dilation) {
  TensorView input = view(weight);
  require(input_shape.size() == 4, kOp, ": input_shape must be four numbers, got ", input_shape.size());
  std::copy(input_shape.begin(), input_shape.end(), input.sizes);
  input.ndim = 4;
  const ConvShape shape =
      check_conv_transpose2d(kOp, input, view(weight), stride, padding, output_padding, groups, dilation);
  const DeviceOf device(weight);
  return pack(weight, shape, true, device.stream());
}

std::tuple<Tensor, Tensor, Tensor> conv_transpose2d_backward(const Tensor& grad, const Tensor& input,
                                                             const Tensor& weight, Sizes stride, Sizes padding,
                                                             Sizes output_padding, std::int64_t groups, Sizes dilation,
                                                             std::vector<bool> needed) {
  const ConvShape shape =
      check_conv_transpose2d(kOp, view(input), view(weight), stride, padding, output_padding, groups, dilation);
  check_conv_transpose2d_grad(kOp, view(grad), view(input), shape);
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
      grad_input = empty({shape.images, shape.out_channels, shape.y.out, shape.x.out}, input, {}, format);
      const Tensor packed = pack(weight, shape, false, device.stream());
      launch_conv2d(shape, last, grad_data, view(packed).template ptr<const T>(), ConvTail<T>{},
                    view(grad_input).template ptr<T>(), device.stream());
    }
    if (needed.at(1)) {  // conv2d's, with image and result in each other's place
      grad_weight = empty({shape.out_channels, shape.group_channels(), shape.y.kernel, shape.x.kernel}, weight);
      if (weight.numel() > 0) {
        const Tensor partials = scratch<A>(conv2d_weight_chunks(shape, last).chunks * weight.numel(), input);
        launch_conv2d_backward_weight(shape, last, view(inputs).template ptr<const T>(), grad_data,
                                      view(partials).template ptr<A>(), view(grad_weight).template ptr<T>(),
                                      device.stream());
      }
    }
    if (needed.at(2)) {
      const ConvShape seen = turned(shape);
      grad_bias = empty({shape.channels}, weight);
      const Tensor partials = scratch<A>(conv2d_bias_chunks(seen, last).chunks * shape.channels, input);
      launch_conv2d_backward_bias(seen, last, grad_data, view(partials).template ptr<A>(),
                                  view(grad_bias).template ptr<T>(), device.stream());
    }
  });
  return {grad_input, grad_weight, grad_bias};
}

}  // namespace

SACCADE_TORCH_CUDA(m) {
  m.impl("conv_transpose2d", SACCADE_BOX(conv_transpose2d));
  m.impl("_conv_transpose2d_fused", SACCADE_BOX(conv_transpose2d_fused));
  m.impl("_conv_transpose2d_pack", SACCADE_BOX(conv_transpose2d_pack));
  m.impl("_conv_transpose2d_backward", SACCADE_BOX(conv_transpose2d_backward));
}

}  // namespace saccade::cuda
