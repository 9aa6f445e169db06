// 2-D transposed convolution, the gradient of conv2d by its input as an operation of its own:
//   out[n, k, y, x] = bias[k] + sum over c, i, j, p, q with p * sy - py + i * dy = y and q * sx - px + j * dx = x of
//                     input[n, c, p, q] * weight[c, k, i, j]
// input (n, c, h, w), weight (c, k / groups, kh, kw); layouts, dtypes, accumulator and the order of sums as in
// ops/conv2d.h. Semantics of torch.nn.functional.conv_transpose2d.
//
// Its ConvShape is that of the convolution that it transposes: from (k, out_h, out_w) to (c, h, w).
#pragma once

#include "ops/conv2d.h"

namespace saccade {

ConvShape check_conv_transpose2d(const char* op, const TensorView& input, const TensorView& weight, const Pair& stride,
                                 const Pair& padding, const Pair& output_padding, std::int64_t groups,
                                 const Pair& dilation);
void check_conv_transpose2d_grad(const char* op, const TensorView& grad, const TensorView& input,
                                 const ConvShape& shape);
// The shape seen from the other end: input and result as the transposed convolution has them.
ConvShape turned(const ConvShape& shape);

// Elements of the packed weights, whose dtype is the accumulator's; and the packing itself. For the same shape (images
// and sizes of the images aside) and memory format they serve again.
std::int64_t conv_transpose2d_packed_size(const ConvShape& shape, DType dtype, bool channels_last);
void conv_transpose2d_pack(const TensorView& weight, const ConvShape& shape, bool channels_last, void* packed);

void conv_transpose2d(const TensorView& input, const void* packed, const ConvShape& shape, bool channels_last,
                      const ConvEpilogue& epilogue, const TensorView& out);

// The gradient of the input is the convolution of the result's. Those of weight and bias: conv2d_backward_weight with
// input and result in each other's place, and conv2d_backward_bias on the shape turned.
void conv_transpose2d_backward_input(const TensorView& grad, const TensorView& weight, const ConvShape& shape,
                                     bool channels_last, const TensorView& grad_input);

}  // namespace saccade
