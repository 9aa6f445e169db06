// 2-D convolution (cross-correlation, as in every network library), an affine map per channel, a residual and an
// activation in the same pass:
//   sum[n, k, p, q] = sum over c, i, j of input[n, c, p * sy - top + i * dy, q * sx - left + j * dx] * weight[k, c, i,
//   j] out = activation((sum + bias[k]) * scale[k] + shift[k] + residual)
// Cells outside the input are zero. With groups, output channel k sees the channels of its group only.
//
// input (n, c, h, w), weight (k, c / groups, kh, kw); both of one dtype, input and residual contiguous or
// channels_last, out as the input; bias, scale, shift (k) of that dtype or, beside halves, float32. Semantics of
// torch.nn.functional.conv2d. Halves are read as float32, or bfloat16 multiplied as it is (ops/conv_gemm.h), and
// accumulated in float32. A thread owns whole outputs and sums them in a fixed order: the same bits for any number of
// threads. NaN and infinity spread as the sum says, except that Winograd's transforms spread them over a tile.
#pragma once

#include <cstdint>
#include <optional>

#include "common/tensor_view.h"
#include "math/activation.h"
#include "math/conv2d.h"
#include "ops/pool2d.h"

namespace saccade {

// stride and dilation: along the rows, along the columns. padding: top, bottom, left, right.
ConvShape check_conv2d(const char* op, const TensorView& input, const TensorView& weight, const Pair& stride,
                       const std::vector<std::int64_t>& padding, const Pair& dilation, std::int64_t groups);

// What follows the sum; each but the activation may be missing.
struct ConvEpilogue {
  std::optional<TensorView> bias, scale, shift, residual;
  std::int64_t activation = 0;
};
void check_conv2d_epilogue(const char* op, const TensorView& input, const ConvShape& shape,
                           const ConvEpilogue& epilogue);

// A list of `count` sizes, none below `least`.
void require_conv_sizes(const char* op, const char* name, const std::vector<std::int64_t>& sizes, std::size_t count,
                        std::int64_t least);

void check_conv2d_grad(const char* op, const TensorView& grad, const TensorView& input, const ConvShape& shape);

// How the sum is computed. Winograd's minimal filtering F(2x2), F(4x4), F(6x6) (Lavin and Gray, 2015) serves 3 x 3
// kernels of stride 1 in float32; its result differs from the others' within the bounds that the public docstring
// gives.
enum class ConvAlgorithm : std::int64_t { kGemm = 0, kWinograd2 = 1, kWinograd4 = 2, kWinograd6 = 3 };
constexpr std::int64_t kConvAlgorithms = 4;
// The algorithm of that number, which must serve the shape and dtype.
ConvAlgorithm check_conv2d_algorithm(const char* op, std::int64_t algorithm, const ConvShape& shape, DType dtype);
// The same for the gradient of the weight, which is kGemm's or kWinograd4's.
ConvAlgorithm check_conv2d_weight_algorithm(const char* op, std::int64_t algorithm, const ConvShape& shape,
                                            DType dtype);

// Elements of the packed weights, whose dtype is the accumulator's; and the packing itself.
std::int64_t conv2d_packed_size(const ConvShape& shape, ConvAlgorithm algorithm, DType dtype, bool channels_last);
void conv2d_pack(const TensorView& weight, const ConvShape& shape, ConvAlgorithm algorithm, bool channels_last,
                 void* packed);

// packed: of conv2d_pack for the same shape (images and sizes of the image aside), algorithm and memory format. out may
// be the residual where groups is 1: an element of it is then read once, before it is written.
void conv2d(const TensorView& input, const void* packed, const ConvShape& shape, ConvAlgorithm algorithm,
            bool channels_last, const ConvEpilogue& epilogue, const TensorView& out);

// Gradients; weight contiguous, grad_weight of any strides, everything else in one memory format; grad_weight,
// grad_bias in the accumulator's dtype.
void conv2d_backward_input(const TensorView& grad, const TensorView& weight, const ConvShape& shape, bool channels_last,
                           const TensorView& grad_input);
void conv2d_backward_weight(const TensorView& grad, const TensorView& input, const ConvShape& shape,
                            ConvAlgorithm algorithm, bool channels_last, const TensorView& grad_weight);
void conv2d_backward_bias(const TensorView& grad, const ConvShape& shape, const TensorView& grad_bias);

}  // namespace saccade
