#include "ops/conv2d.h"

#include "bind_torch/memory_format.h"

namespace saccade::bind_torch {
namespace {

using Sizes = std::vector<std::int64_t>;

ScalarType accumulator(const Tensor& like) {
  return like.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

Tensor packed_weight(const Tensor& weight, const ConvShape& shape, ConvAlgorithm algorithm, bool channels_last) {
  const DType dtype = view(weight).dtype;
  Tensor packed = empty({conv2d_packed_size(shape, algorithm, dtype, channels_last)}, weight, accumulator(weight));
  saccade::conv2d_pack(view(weight), shape, algorithm, channels_last, packed.data_ptr());
  return packed;
}

using OptionalTensor = std::optional<Tensor>;

// bias, scale and shift come through the epilogue's views, the residual as a tensor, to be put in order. The result
// goes to the `given` output if there is one.
Tensor run(const char* op, const Tensor& input, const Tensor& weight, const OptionalTensor& packed, const Sizes& stride,
           const Sizes& padding, const Sizes& dilation, std::int64_t groups, std::int64_t algorithm_number,
           ConvEpilogue epilogue, const OptionalTensor& residual, const OptionalTensor& given = {}) {
  const ConvShape shape = check_conv2d(op, view(input), view(weight), stride, padding, dilation, groups);
  const MemoryFormat format = format_of(input);
  const bool channels_last = format == MemoryFormat::ChannelsLast;
  const OptionalTensor ordered_residual = residual ? OptionalTensor(in_format(*residual, format)) : std::nullopt;
  epilogue.residual = optional_view(ordered_residual);
  check_conv2d_epilogue(op, view(input), shape, epilogue);
  const ConvAlgorithm algorithm = check_conv2d_algorithm(op, algorithm_number, shape, view(input).dtype);
  const Tensor ordered = in_format(input, format);
  const Tensor weights = packed ? *packed : packed_weight(weight, shape, algorithm, channels_last);
  require(weights.numel() == conv2d_packed_size(shape, algorithm, view(input).dtype, channels_last), op,
          ": packed must be the weight packed for this shape, got ", weights.numel(), " elements");
  if (given) {
    require_output(op, *given, {shape.images, shape.out_channels, shape.y.out, shape.x.out}, format, input);
    require(groups == 1 || !ordered_residual || ordered_residual->data_ptr() != given->data_ptr(), op,
            ": groups must be 1 for a result in the residual's memory, got ", groups);
  }
  const Tensor out =
      given ? *given : empty({shape.images, shape.out_channels, shape.y.out, shape.x.out}, input, {}, format);
  saccade::conv2d(view(ordered), weights.data_ptr(), shape, algorithm, channels_last, epilogue, view(out));
  return out;
}

ConvEpilogue epilogue_of(const OptionalTensor& bias, const OptionalTensor& scale, const OptionalTensor& shift,
                         std::int64_t activation) {
  return {optional_view(bias), optional_view(scale), optional_view(shift), std::nullopt, activation};
}

Tensor conv2d(const Tensor& input, const Tensor& weight, const OptionalTensor& bias, const OptionalTensor& packed,
              Sizes stride, Sizes padding, Sizes dilation, std::int64_t groups, std::int64_t algorithm) {
  return run("conv2d", input, weight, packed, stride, padding, dilation, groups, algorithm,
             epilogue_of(bias, std::nullopt, std::nullopt, 0), std::nullopt);
}

Tensor conv2d_fused(const Tensor& input, const Tensor& weight, const OptionalTensor& bias, const OptionalTensor& packed,
                    Sizes stride, Sizes padding, Sizes dilation, std::int64_t groups, std::int64_t algorithm,
                    const OptionalTensor& scale, const OptionalTensor& shift, const OptionalTensor& residual,
                    std::int64_t activation) {
  return run("conv2d_fused", input, weight, packed, stride, padding, dilation, groups, algorithm,
             epilogue_of(bias, scale, shift, activation), residual);
}

void conv2d_fused_out(const Tensor& input, const Tensor& weight, const OptionalTensor& bias,
                      const OptionalTensor& packed, Sizes stride, Sizes padding, Sizes dilation, std::int64_t groups,
                      std::int64_t algorithm, const OptionalTensor& scale, const OptionalTensor& shift,
                      const OptionalTensor& residual, std::int64_t activation, const Tensor& out) {
  run("conv2d_fused", input, weight, packed, stride, padding, dilation, groups, algorithm,
      epilogue_of(bias, scale, shift, activation), residual, out);
}

Tensor conv2d_pack(const Tensor& weight, Sizes input_shape, bool channels_last, Sizes stride, Sizes padding,
                   Sizes dilation, std::int64_t groups, std::int64_t algorithm_number) {
  TensorView input = view(weight);
  input.ndim = static_cast<int>(std::min<std::size_t>(input_shape.size(), kMaxDims));
  for (int d = 0; d < input.ndim; ++d) input.sizes[d] = input_shape[d];
  const ConvShape shape = check_conv2d("conv2d", input, view(weight), stride, padding, dilation, groups);
  const ConvAlgorithm algorithm = check_conv2d_algorithm("conv2d", algorithm_number, shape, input.dtype);
  return packed_weight(weight, shape, algorithm, channels_last);
}

std::tuple<Tensor, Tensor, Tensor> conv2d_backward(const Tensor& grad, const Tensor& input, const Tensor& weight,
                                                   Sizes stride, Sizes padding, Sizes dilation, std::int64_t groups,
                                                   std::vector<bool> needed, std::int64_t algorithm_number) {
  const ConvShape shape = check_conv2d("conv2d", view(input), view(weight), stride, padding, dilation, groups);
  check_conv2d_grad("conv2d", view(grad), view(input), shape);
  const ConvAlgorithm algorithm = check_conv2d_weight_algorithm("conv2d", algorithm_number, shape, view(input).dtype);
  const MemoryFormat format = format_of(input);
  const bool channels_last = format == MemoryFormat::ChannelsLast;
  const Tensor ordered_grad = in_format(grad, format), ordered = in_format(input, format);
  Tensor grad_input = empty({0}, input), grad_weight = empty({0}, weight), grad_bias = empty({0}, weight);
  if (needed.at(0)) {
    grad_input = empty({shape.images, shape.channels, shape.y.in, shape.x.in}, input, {}, format);
    const Tensor contiguous = torch::stable::contiguous(weight);
    conv2d_backward_input(view(ordered_grad), view(contiguous), shape, channels_last, view(grad_input));
  }
  if (needed.at(1)) {
    grad_weight = empty({shape.out_channels, shape.group_channels(), shape.y.kernel, shape.x.kernel}, weight,
                        accumulator(weight), format_of(weight));
    conv2d_backward_weight(view(ordered_grad), view(ordered), shape, algorithm, channels_last, view(grad_weight));
    grad_weight = torch::stable::to(grad_weight, weight.scalar_type());
  }
  if (needed.at(2)) {
    grad_bias = empty({shape.out_channels}, weight, accumulator(weight));
    conv2d_backward_bias(view(ordered_grad), shape, view(grad_bias));
    grad_bias = torch::stable::to(grad_bias, weight.scalar_type());
  }
  return {grad_input, grad_weight, grad_bias};
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "conv2d(Tensor input, Tensor weight, Tensor? bias, Tensor? packed, SymInt[] stride, SymInt[] padding, "
      "SymInt[] dilation, SymInt groups, int algorithm) -> Tensor");
  m.def(
      "conv2d_fused(Tensor input, Tensor weight, Tensor? bias, Tensor? packed, SymInt[] stride, SymInt[] padding, "
      "SymInt[] dilation, SymInt groups, int algorithm, Tensor? scale, Tensor? shift, Tensor? residual, "
      "int activation) -> Tensor");
  // Into memory that the caller brings, which may be the residual's.
  m.def(
      "_conv2d_fused_out(Tensor input, Tensor weight, Tensor? bias, Tensor? packed, SymInt[] stride, SymInt[] padding, "
      "SymInt[] dilation, SymInt groups, int algorithm, Tensor? scale, Tensor? shift, Tensor? residual, "
      "int activation, Tensor(a!) out) -> ()");
  m.def(
      "_conv2d_pack(Tensor weight, SymInt[] input_shape, bool channels_last, SymInt[] stride, SymInt[] padding, "
      "SymInt[] dilation, SymInt groups, int algorithm) -> Tensor");
  m.def(
      "_conv2d_backward(Tensor grad, Tensor input, Tensor weight, SymInt[] stride, SymInt[] padding, "
      "SymInt[] dilation, SymInt groups, bool[] needed, int algorithm) -> (Tensor, Tensor, Tensor)");
}

SACCADE_TORCH_CPU(m) {
  m.impl("conv2d", SACCADE_BOX(conv2d));
  m.impl("conv2d_fused", SACCADE_BOX(conv2d_fused));
  m.impl("_conv2d_fused_out", SACCADE_BOX(conv2d_fused_out));
  m.impl("_conv2d_pack", SACCADE_BOX(conv2d_pack));
  m.impl("_conv2d_backward", SACCADE_BOX(conv2d_backward));
}

}  // namespace saccade::bind_torch
