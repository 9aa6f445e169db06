#include "ops/checks.h"
#include "ops/conv_transpose2d.h"

namespace saccade {
namespace {

WindowAxis axis_of(const char* op, std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t padding,
                   std::int64_t output_padding, std::int64_t dilation) {
  const std::int64_t out = (in - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1;
  require(out > 0, op, ": padding must leave at least one row and column of the output, got ", padding,
          " for a length of ", out + 2 * padding);
  return {out, in, kernel, stride, padding, dilation};
}

}  // namespace

ConvShape check_conv_transpose2d(const char* op, const TensorView& input, const TensorView& weight, const Pair& stride,
                                 const Pair& padding, const Pair& output_padding, std::int64_t groups,
                                 const Pair& dilation) {
  require_shape(op, "input", input, "(N, C, H, W)", {-1, -1, -1, -1});
  require_floating(op, "input", input);
  require(input.size(2) > 0 && input.size(3) > 0, op, ": input must have at least one row and column, got ",
          shape_string(input));
  require_shape(op, "weight", weight, "(C, out_channels / groups, kernel_h, kernel_w)", {-1, -1, -1, -1});
  require_same_dtype(op, "weight", weight, "input", input);
  require_same_device(op, "weight", weight, "input", input);
  require_conv_sizes(op, "stride", stride, 2, 1);
  require_conv_sizes(op, "padding", padding, 2, 0);
  require_conv_sizes(op, "output_padding", output_padding, 2, 0);
  require_conv_sizes(op, "dilation", dilation, 2, 1);
  for (int d = 0; d < 2; ++d)
    require(output_padding[d] < std::max(stride[d], dilation[d]), op,
            ": output_padding must be less than stride or dilation, got ", pair_string(output_padding), " for ",
            pair_string(stride), " and ", pair_string(dilation));
  require(groups > 0, op, ": groups must be positive, got ", groups);
  const std::int64_t channels = input.size(1);
  require(channels % groups == 0, op, ": groups must divide the channels of input, got ", groups, " for ", channels);
  require(weight.size(0) == channels && weight.size(1) > 0 && weight.size(2) > 0 && weight.size(3) > 0, op,
          ": weight must have shape (C, out_channels / groups, kernel_h, kernel_w) with C = ", channels, ", got ",
          shape_string(weight));
  return {axis_of(op, input.size(2), weight.size(2), stride[0], padding[0], output_padding[0], dilation[0]),
          axis_of(op, input.size(3), weight.size(3), stride[1], padding[1], output_padding[1], dilation[1]),
          input.size(0),
          weight.size(1) * groups,
          channels,
          groups};
}

void check_conv_transpose2d_grad(const char* op, const TensorView& grad, const TensorView& input,
                                 const ConvShape& shape) {
  require_shape(op, "grad", grad, "(N, out_channels, out_h, out_w)",
                {shape.images, shape.channels, shape.y.in, shape.x.in});
  require_same_dtype(op, "grad", grad, "input", input);
  require_same_device(op, "grad", grad, "input", input);
}

ConvShape turned(const ConvShape& shape) {
  ConvShape result = shape;
  std::swap(result.y.in, result.y.out);
  std::swap(result.x.in, result.x.out);
  std::swap(result.channels, result.out_channels);
  return result;
}

}  // namespace saccade
