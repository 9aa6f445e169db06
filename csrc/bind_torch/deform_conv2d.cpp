#include "ops/deform_conv2d.h"

#include "bind_torch/memory_format.h"
#include "ops/conv2d.h"

namespace saccade::bind_torch {
namespace {

using Sizes = std::vector<std::int64_t>;
using OptionalTensor = std::optional<Tensor>;

std::optional<TensorView> optional_view(const OptionalTensor& tensor) {
  return tensor ? std::optional(view(*tensor)) : std::nullopt;
}

ScalarType accumulator(const Tensor& like) {
  return like.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

// Contiguous or channels_last, whichever it is; a copy if neither.
Tensor in_either_format(const Tensor& tensor) { return in_format(tensor, format_of(tensor)); }

Tensor packed_weight(const Tensor& weight, const DeformShape& shape) {
  const Tensor ordered = torch::stable::contiguous(weight);
  Tensor packed = empty({deform_conv2d_packed_size(shape, view(weight).dtype)}, weight, accumulator(weight));
  saccade::deform_conv2d_pack(view(ordered), shape, packed.data_ptr());
  return packed;
}

Tensor deform_conv2d_pack(const Tensor& weight, std::int64_t groups) {
  return packed_weight(weight, check_deform_conv2d_pack("deform_conv2d", view(weight), groups));
}

Tensor deform_conv2d(const Tensor& input, const Tensor& offset, const Tensor& weight, const OptionalTensor& bias,
                     const OptionalTensor& mask, const OptionalTensor& packed, Sizes stride, Sizes padding,
                     Sizes dilation) {
  const DeformShape shape = check_deform_conv2d(
      "deform_conv2d", {view(input), view(offset), view(weight), optional_view(mask)}, stride, padding, dilation);
  ConvEpilogue epilogue;
  epilogue.bias = optional_view(bias);
  check_conv2d_epilogue("deform_conv2d", view(input), shape.conv, epilogue);
  const Tensor weights = packed ? *packed : packed_weight(weight, shape);
  require(weights.numel() == deform_conv2d_packed_size(shape, view(input).dtype),
          "deform_conv2d: packed must be the weight packed for this shape, got ", weights.numel(), " elements");
  const Tensor images = in_either_format(input), offsets = in_either_format(offset);
  const OptionalTensor masks = mask ? OptionalTensor(in_either_format(*mask)) : std::nullopt;
  const ConvShape& conv = shape.conv;
  Tensor out = empty({conv.images, conv.out_channels, conv.y.out, conv.x.out}, input, {}, format_of(input));
  saccade::deform_conv2d({view(images), view(offsets), view(weight), optional_view(masks)}, weights.data_ptr(),
                         epilogue.bias, shape, view(out));
  return out;
}

// needed: the gradients of input, offset, mask, weight, bias.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> deform_conv2d_backward(const Tensor& grad, const Tensor& input,
                                                                          const Tensor& offset, const Tensor& weight,
                                                                          const OptionalTensor& mask, Sizes stride,
                                                                          Sizes padding, Sizes dilation,
                                                                          std::vector<bool> needed) {
  const DeformShape shape = check_deform_conv2d(
      "deform_conv2d", {view(input), view(offset), view(weight), optional_view(mask)}, stride, padding, dilation);
  check_conv2d_grad("deform_conv2d", view(grad), view(input), shape.conv);
  const Tensor grads = in_format(grad, format_of(input)), images = in_either_format(input);
  const Tensor offsets = in_either_format(offset), weights = torch::stable::contiguous(weight);
  const OptionalTensor masks = mask ? OptionalTensor(in_either_format(*mask)) : std::nullopt;
  const DeformArguments arguments = {view(images), view(offsets), view(weights), optional_view(masks)};
  const auto beside = [](const Tensor& tensor) {
    return empty({tensor.size(0), tensor.size(1), tensor.size(2), tensor.size(3)}, tensor, {}, format_of(tensor));
  };
  const auto none = [&] { return empty({0}, input); };
  Tensor grad_input = needed.at(0) ? beside(images) : none(), grad_offset = needed.at(1) ? beside(offsets) : none();
  Tensor grad_mask = needed.at(2) && mask ? beside(*masks) : none(), grad_weight = none(), grad_bias = none();
  DeformSampleGradients gradients;
  if (needed[0]) gradients.input = view(grad_input);
  if (needed[1]) gradients.offset = view(grad_offset);
  if (needed[2] && mask) gradients.mask = view(grad_mask);
  deform_conv2d_backward_samples(view(grads), arguments, shape, gradients);
  if (needed.at(3)) {
    grad_weight = empty({weight.size(0), weight.size(1), weight.size(2), weight.size(3)}, weight, accumulator(weight));
    deform_conv2d_backward_weight(view(grads), arguments, shape, view(grad_weight));
    grad_weight = torch::stable::to(grad_weight, weight.scalar_type());
  }
  if (needed.at(4)) {
    grad_bias = empty({weight.size(0)}, weight, accumulator(weight));
    conv2d_backward_bias(view(grads), shape.conv, view(grad_bias));
    grad_bias = torch::stable::to(grad_bias, weight.scalar_type());
  }
  return {grad_input, grad_offset, grad_mask, grad_weight, grad_bias};
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "deform_conv2d(Tensor input, Tensor offset, Tensor weight, Tensor? bias, Tensor? mask, Tensor? packed, "
      "SymInt[] stride, SymInt[] padding, SymInt[] dilation) -> Tensor");
  m.def("_deform_conv2d_pack(Tensor weight, SymInt groups) -> Tensor");
  m.def(
      "_deform_conv2d_backward(Tensor grad, Tensor input, Tensor offset, Tensor weight, Tensor? mask, "
      "SymInt[] stride, SymInt[] padding, SymInt[] dilation, bool[] needed) "
      "-> (Tensor, Tensor, Tensor, Tensor, Tensor)");
}

SACCADE_TORCH_CPU(m) {
  m.impl("deform_conv2d", SACCADE_BOX(deform_conv2d));
  m.impl("_deform_conv2d_pack", SACCADE_BOX(deform_conv2d_pack));
  m.impl("_deform_conv2d_backward", SACCADE_BOX(deform_conv2d_backward));
}

}  // namespace saccade::bind_torch
