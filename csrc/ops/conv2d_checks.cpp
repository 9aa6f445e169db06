#include "ops/checks.h"
#include "ops/conv2d.h"

namespace saccade {

void require_conv_sizes(const char* op, const char* name, const std::vector<std::int64_t>& sizes, std::size_t count,
                        std::int64_t least) {
  bool fits = sizes.size() == count;
  for (const std::int64_t size : sizes) fits = fits && size >= least && size <= 0x7fffffff;
  require(fits, op, ": ", name, " must be ", count, " numbers from ", least, " to 2**31 - 1, got ", pair_string(sizes));
}

namespace {

WindowAxis axis_of(const char* op, std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t before,
                   std::int64_t after, std::int64_t dilation) {
  const std::int64_t padded = in + before + after, reach = dilation * (kernel - 1) + 1;
  require(padded >= reach, op,
          ": input with its padding must be at least as large as the kernel with its dilation, got ", padded, " for ",
          reach);
  return {in, (padded - reach) / stride + 1, kernel, stride, before, dilation};
}

void check_parameter(const char* op, const char* name, const std::optional<TensorView>& view, const TensorView& input,
                     std::int64_t channels) {
  if (!view) return;
  require(view->ndim == 1 && view->size(0) == channels, op, ": ", name, " must have shape (out_channels,) = (",
          channels, ",), got ", shape_string(*view));
  require_type(view->dtype == input.dtype || (is_half(input.dtype) && view->dtype == DType::kFloat32), op, ": ", name,
               " must be ", dtype_name(input.dtype), is_half(input.dtype) ? " or float32" : "", ", got ",
               dtype_name(view->dtype));
  require_same_device(op, name, *view, "input", input);
}

}  // namespace

ConvShape check_conv2d(const char* op, const TensorView& input, const TensorView& weight, const Pair& stride,
                       const std::vector<std::int64_t>& padding, const Pair& dilation, std::int64_t groups) {
  require_shape(op, "input", input, "(N, C, H, W)", {-1, -1, -1, -1});
  require_floating(op, "input", input);
  require_shape(op, "weight", weight, "(out_channels, C / groups, kernel_h, kernel_w)", {-1, -1, -1, -1});
  require_same_dtype(op, "weight", weight, "input", input);
  require_same_device(op, "weight", weight, "input", input);
  require_conv_sizes(op, "stride", stride, 2, 1);
  require_conv_sizes(op, "padding", padding, 4, 0);
  require_conv_sizes(op, "dilation", dilation, 2, 1);
  require(groups > 0, op, ": groups must be positive, got ", groups);
  const std::int64_t channels = input.size(1), out_channels = weight.size(0);
  require(channels % groups == 0, op, ": groups must divide the channels of input, got ", groups, " for ", channels);
  require(out_channels > 0 && out_channels % groups == 0, op,
          ": groups must divide out_channels, which must be positive, got ", groups, " for ", out_channels);
  require(weight.size(1) == channels / groups && weight.size(2) > 0 && weight.size(3) > 0, op,
          ": weight must have shape (out_channels, C / groups, kernel_h, kernel_w) with C / groups = ",
          channels / groups, ", got ", shape_string(weight));
  return {axis_of(op, input.size(2), weight.size(2), stride[0], padding[0], padding[1], dilation[0]),
          axis_of(op, input.size(3), weight.size(3), stride[1], padding[2], padding[3], dilation[1]),
          input.size(0),
          channels,
          out_channels,
          groups};
}

void check_conv2d_epilogue(const char* op, const TensorView& input, const ConvShape& shape,
                           const ConvEpilogue& epilogue) {
  check_parameter(op, "bias", epilogue.bias, input, shape.out_channels);
  check_parameter(op, "scale", epilogue.scale, input, shape.out_channels);
  check_parameter(op, "shift", epilogue.shift, input, shape.out_channels);
  require(epilogue.activation >= 0 && epilogue.activation < kActivations, op,
          ": activation must be a number from 0 to ", kActivations - 1, ", got ", epilogue.activation);
  if (!epilogue.residual) return;
  require_shape(op, "residual", *epilogue.residual, "(N, out_channels, out_h, out_w)",
                {shape.images, shape.out_channels, shape.y.out, shape.x.out});
  require_same_dtype(op, "residual", *epilogue.residual, "input", input);
  require_same_device(op, "residual", *epilogue.residual, "input", input);
}

ConvAlgorithm check_conv2d_algorithm(const char* op, std::int64_t algorithm, const ConvShape& shape, DType dtype) {
  require(algorithm >= 0 && algorithm < kConvAlgorithms, op, ": algorithm must be a number from 0 to ",
          kConvAlgorithms - 1, ", got ", algorithm);
  const auto chosen = static_cast<ConvAlgorithm>(algorithm);
  const bool winograd = shape.y.kernel == 3 && shape.x.kernel == 3 && shape.y.stride == 1 && shape.x.stride == 1 &&
                        dtype == DType::kFloat32;
  require(chosen == ConvAlgorithm::kGemm || winograd, op,
          ": algorithm must be 'gemm' but for a 3 x 3 kernel, stride 1 and float32");
  return chosen;
}

ConvAlgorithm check_conv2d_weight_algorithm(const char* op, std::int64_t algorithm, const ConvShape& shape,
                                            DType dtype) {
  const ConvAlgorithm chosen = check_conv2d_algorithm(op, algorithm, shape, dtype);
  require(chosen == ConvAlgorithm::kGemm || chosen == ConvAlgorithm::kWinograd4, op,
          ": algorithm must be 'gemm' or 'winograd4' for the gradient of the weight");
  return chosen;
}

void check_conv2d_grad(const char* op, const TensorView& grad, const TensorView& input, const ConvShape& shape) {
  require_shape(op, "grad", grad, "(N, out_channels, out_h, out_w)",
                {shape.images, shape.out_channels, shape.y.out, shape.x.out});
  require_same_dtype(op, "grad", grad, "input", input);
  require_same_device(op, "grad", grad, "input", input);
}

}  // namespace saccade
