#include "ops/pool2d.h"

#include "ops/checks.h"

namespace saccade {

std::string pair_string(const Pair& pair) {
  std::string text = "(";
  for (std::size_t i = 0; i < pair.size(); ++i) text += (i ? ", " : "") + std::to_string(pair[i]);
  return text + (pair.size() == 1 ? ",)" : ")");
}

void require_pair(const char* op, const char* name, const Pair& pair, std::int64_t least) {
  require(pair.size() == 2, op, ": ", name, " must be an int or a pair of ints, got ", pair_string(pair));
  require(pair[0] >= least && pair[1] >= least, op, ": ", name,
          least > 0 ? " must be positive" : " must not be negative", ", got ", pair_string(pair));
  require(std::max(pair[0], pair[1]) <= 0x7fffffff, op, ": ", name, " must be less than 2**31, got ",
          pair_string(pair));
}

void check_pool2d_input(const char* op, const TensorView& input) {
  require_shape(op, "input", input, "(N, C, H, W)", {-1, -1, -1, -1});
  require_floating(op, "input", input);
  require(input.size(1) > 0 && input.size(2) > 0 && input.size(3) > 0, op,
          ": input must have no dimension of 0 but the first, got ", shape_string(input));
  require(input.size(2) * input.size(3) <= std::int64_t{0x7fffffff}, op,
          ": input must have fewer than 2**31 cells, got ", shape_string(input));
}

namespace {

// torch's pooling_output_shape. One window needs no stride, however long the one asked for.
WindowAxis axis_of(std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t padding,
                   std::int64_t dilation, bool ceil_mode) {
  const std::int64_t room = in + 2 * padding - dilation * (kernel - 1) - 1;
  if (room < 0 && (!ceil_mode || room <= -stride)) return {in, 0, kernel, stride, padding, dilation};
  std::int64_t out = room < 0 ? 1 : (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  if (ceil_mode && (out - 1) * stride >= in + padding) --out;
  return {in, out, kernel, out == 1 ? 1 : stride, padding, dilation};
}

}  // namespace

WindowShape check_pool2d(const char* op, const TensorView& input, const Pair& kernel_size, const Pair& stride,
                         const Pair& padding, const Pair& dilation, bool ceil_mode) {
  check_pool2d_input(op, input);
  require_pair(op, "kernel_size", kernel_size, 1);
  require_pair(op, "stride", stride, 1);
  require_pair(op, "padding", padding, 0);
  require_pair(op, "dilation", dilation, 1);
  bool fits = true;
  for (int d = 0; d < 2; ++d) fits = fits && padding[d] <= kernel_size[d] / 2;
  require(fits, op, ": padding must be at most half of kernel_size, got ", pair_string(padding), " for ",
          pair_string(kernel_size));
  const WindowShape shape = {
      axis_of(input.size(2), kernel_size[0], stride[0], padding[0], dilation[0], ceil_mode),
      axis_of(input.size(3), kernel_size[1], stride[1], padding[1], dilation[1], ceil_mode),
  };
  require(shape.y.out > 0 && shape.x.out > 0, op, ": input must be at least as large as the padded kernel, got ",
          shape_string(input), " for ", pair_string(kernel_size));
  return shape;
}

}  // namespace saccade
