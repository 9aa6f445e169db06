#include "ops/conv_transpose2d.h"

#include "bind_torch/memory_format.h"

namespace saccade::bind_torch {
namespace {

constexpr const char* kOp = "conv_transpose2d";
using Sizes = std::vector<std::int64_t>;

ScalarType accumulator(const Tensor& like) {
  return like.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

Tensor packed_weight(const Tensor& weight, const ConvShape& shape, bool channels_last) {
  const Tensor ordered = torch::stable::contiguous(weight);
  Tensor packed =
      empty({conv_transpose2d_packed_size(shape, view(weight).dtype, channels_last)}, weight, accumulator(weight));
  saccade::conv_transpose2d_pack(view(ordered), shape, channels_last, packed.data_ptr());
  return packed;
}

std::optional<TensorView> optional_view(const std::optional<Tensor>& tensor) {
  return tensor ? std::optional(view(*tensor)) : std::nullopt;
}

Tensor run(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& packed, const Sizes& stride,
           const Sizes& padding, const Sizes& output_padding, std::int64_t groups, const Sizes& dilation,
           const ConvEpilogue& epilogue) {
  const ConvShape shape =
      check_conv_transpose2d(kOp, view(input), view(weight), stride, padding, output_padding, groups, dilation);
  check_conv2d_epilogue(kOp, view(input), turned(shape), epilogue);
  const MemoryFormat format = format_of(input);
  const bool channels_last = format == MemoryFormat::ChannelsLast;
  const Tensor ordered = in_format(input, format);
  const Tensor weights = packed ? *packed : packed_weight(weight, shape, channels_last);
  require(weights.numel() == conv_transpose2d_packed_size(shape, view(input).dtype, channels_last), kOp,
          ": packed must be the weight packed for this shape, got ", weights.numel(), " elements");
  Tensor out = empty({shape.images, shape.channels, shape.y.in, shape.x.in}, input, {}, format);
  saccade::conv_transpose2d(view(ordered), weights.data_ptr(), shape, channels_last, epilogue, view(out));
  return out;
}

Tensor conv_transpose2d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                        const std::optional<Tensor>& packed, Sizes stride, Sizes padding, Sizes output_padding,
                        std::int64_t groups, Sizes dilation) {
  ConvEpilogue epilogue;
  epilogue.bias = optional_view(bias);
  return run(input, weight, packed, stride, padding, output_padding, groups, dilation, epilogue);
}

Tensor conv_transpose2d_fused(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                              const std::optional<Tensor>& packed, Sizes stride, Sizes padding, Sizes output_padding,
                              std::int64_t groups, Sizes dilation, const std::optional<Tensor>& scale,
                              const std::optional<Tensor>& shift, std::int64_t activation) {
  const ConvEpilogue epilogue = {optional_view(bias), optional_view(scale), optional_view(shift), std::nullopt,
                                 activation};
  return run(input, weight, packed, stride, padding, output_padding, groups, dilation, epilogue);
}

Tensor conv_transpose2d_pack(const Tensor& weight, Sizes input_shape, bool channels_last, Sizes stride, Sizes padding,
                             Sizes output_padding, std::int64_t groups, Sizes dilation) {
  TensorView input = view(weight);
  input.ndim = static_cast<int>(std::min<std::size_t>(input_shape.size(), kMaxDims));
  for (int d = 0; d < input.ndim; ++d) input.sizes[d] = input_shape[d];
  const ConvShape shape =
      check_conv_transpose2d(kOp, input, view(weight), stride, padding, output_padding, groups, dilation);
  return packed_weight(weight, shape, channels_last);
}

std::tuple<Tensor, Tensor, Tensor> conv_transpose2d_backward(const Tensor& grad, const Tensor& input,
                                                             const Tensor& weight, Sizes stride, Sizes padding,
                                                             Sizes output_padding, std::int64_t groups, Sizes dilation,
                                                             std::vector<bool> needed) {
  const ConvShape shape =
      check_conv_transpose2d(kOp, view(input), view(weight), stride, padding, output_padding, groups, dilation);
  check_conv_transpose2d_grad(kOp, view(grad), view(input), shape);
  const MemoryFormat format = format_of(input);
  const bool channels_last = format == MemoryFormat::ChannelsLast;
  const Tensor ordered_grad = in_format(grad, format), ordered = in_format(input, format);
  Tensor grad_input = empty({0}, input), grad_weight = empty({0}, weight), grad_bias = empty({0}, weight);
  if (needed.at(0)) {
    grad_input = empty({shape.images, shape.out_channels, shape.y.out, shape.x.out}, input, {}, format);
    const Tensor contiguous = torch::stable::contiguous(weight);
    conv_transpose2d_backward_input(view(ordered_grad), view(contiguous), shape, channels_last, view(grad_input));
  }
  if (needed.at(1)) {
    grad_weight = empty({shape.out_channels, shape.group_channels(), shape.y.kernel, shape.x.kernel}, weight,
                        accumulator(weight));
    conv2d_backward_weight(view(ordered), view(ordered_grad), shape, ConvAlgorithm::kGemm, channels_last,
                           view(grad_weight));
    grad_weight = torch::stable::to(grad_weight, weight.scalar_type());
  }
  if (needed.at(2)) {
    grad_bias = empty({shape.channels}, weight, accumulator(weight));
    conv2d_backward_bias(view(ordered_grad), turned(shape), view(grad_bias));
    grad_bias = torch::stable::to(grad_bias, weight.scalar_type());
  }
  return {grad_input, grad_weight, grad_bias};
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "conv_transpose2d(Tensor input, Tensor weight, Tensor? bias, Tensor? packed, SymInt[] stride, SymInt[] padding, "
      "SymInt[] output_padding, SymInt groups, SymInt[] dilation) -> Tensor");
  m.def(
      "_conv_transpose2d_fused(Tensor input, Tensor weight, Tensor? bias, Tensor? packed, SymInt[] stride, "
      "SymInt[] padding, SymInt[] output_padding, SymInt groups, SymInt[] dilation, Tensor? scale, Tensor? shift, "
      "int activation) -> Tensor");
  m.def(
      "_conv_transpose2d_pack(Tensor weight, SymInt[] input_shape, bool channels_last, SymInt[] stride, "
      "SymInt[] padding, SymInt[] output_padding, SymInt groups, SymInt[] dilation) -> Tensor");
  m.def(
      "_conv_transpose2d_backward(Tensor grad, Tensor input, Tensor weight, SymInt[] stride, SymInt[] padding, "
      "SymInt[] output_padding, SymInt groups, SymInt[] dilation, bool[] needed) -> (Tensor, Tensor, Tensor)");
}

SACCADE_TORCH_CPU(m) {
  m.impl("conv_transpose2d", SACCADE_BOX(conv_transpose2d));
  m.impl("_conv_transpose2d_fused", SACCADE_BOX(conv_transpose2d_fused));
  m.impl("_conv_transpose2d_pack", SACCADE_BOX(conv_transpose2d_pack));
  m.impl("_conv_transpose2d_backward", SACCADE_BOX(conv_transpose2d_backward));
}

}  // namespace saccade::bind_torch
