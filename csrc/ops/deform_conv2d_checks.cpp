#include "ops/checks.h"
#include "ops/conv2d.h"
#include "ops/deform_conv2d.h"

namespace saccade {
namespace {

void check_field(const char* op, const char* name, const char* pattern, const TensorView& field,
                 const TensorView& input, std::int64_t channels, const ConvShape& conv) {
  require_same_dtype(op, name, field, "input", input);
  require_same_device(op, name, field, "input", input);
  const bool fits = field.ndim == 4 && field.size(0) == conv.images && field.size(1) == channels &&
                    field.size(2) == conv.y.out && field.size(3) == conv.x.out;
  require(fits, op, ": ", name, " must have shape ", pattern, " = (", conv.images, ", ", channels, ", ", conv.y.out,
          ", ", conv.x.out, "), got ", shape_string(field));
}

// 1 where there are no channels to tell.
std::int64_t groups_of(const char* op, const TensorView& input, const TensorView& weight) {
  const std::int64_t channels = input.size(1), depth = weight.size(1);
  if (channels == 0 && depth == 0) return 1;
  require(depth > 0 && channels > 0 && channels % depth == 0, op,
          ": weight must have shape (out_channels, C / groups, kernel_h, kernel_w) with groups that divide C = ",
          channels, ", got ", shape_string(weight));
  return channels / depth;
}

}  // namespace

DeformShape check_deform_conv2d(const char* op, const DeformArguments& arguments, const Pair& stride,
                                const Pair& padding, const Pair& dilation) {
  const TensorView &input = arguments.input, &offset = arguments.offset, &weight = arguments.weight;
  require_shape(op, "input", input, "(N, C, H, W)", {-1, -1, -1, -1});
  require_shape(op, "weight", weight, "(out_channels, C / groups, kernel_h, kernel_w)", {-1, -1, -1, -1});
  require(padding.size() == 2, op, ": padding must be 2 numbers from 0 to 2**31 - 1, got ", pair_string(padding));
  const ConvShape conv = check_conv2d(op, input, weight, stride, {padding[0], padding[0], padding[1], padding[1]},
                                      dilation, groups_of(op, input, weight));
  const std::int64_t taps = conv.taps(), channels = offset.ndim == 4 ? offset.size(1) : 0;
  require(offset.ndim == 4 && channels > 0 && channels % (2 * taps) == 0, op,
          ": offset must have shape (N, 2 * offset_groups * kernel_h * kernel_w, out_h, out_w), with a multiple of ",
          2 * taps, " channels, got ", shape_string(offset));
  const std::int64_t groups = channels / (2 * taps);
  require(conv.channels % groups == 0, op, ": offset groups must divide the channels of input, got ", groups, " for ",
          conv.channels);
  check_field(op, "offset", "(N, 2 * offset_groups * kernel_h * kernel_w, out_h, out_w)", offset, input, channels,
              conv);
  if (arguments.mask)
    check_field(op, "mask", "(N, offset_groups * kernel_h * kernel_w, out_h, out_w)", *arguments.mask, input,
                groups * taps, conv);
  return {conv, groups};
}

DeformShape check_deform_conv2d_pack(const char* op, const TensorView& weight, std::int64_t groups) {
  require_shape(op, "weight", weight, "(out_channels, C / groups, kernel_h, kernel_w)", {-1, -1, -1, -1});
  require_floating(op, "weight", weight);
  require(groups > 0 && weight.size(0) > 0 && weight.size(0) % groups == 0, op,
          ": groups must divide out_channels, which must be positive, got ", groups, " for ", weight.size(0));
  const WindowAxis y = {0, 0, weight.size(2), 1, 0, 1}, x = {0, 0, weight.size(3), 1, 0, 1};
  return {{y, x, 0, groups * weight.size(1), weight.size(0), groups}, 1};
}

}  // namespace saccade
