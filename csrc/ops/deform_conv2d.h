// Deformable convolution (Dai et al., Deformable Convolutional Networks, 2017; with a mask: Zhu et al., version 2,
// 2019):
//   out[n, k, p, q] = bias[k] + sum over c, i, j of weight[k, c, i, j] * mask[n, g, i, j, p, q] * value[n, c] at
//     y = p * sy - py + i * dy + offset[n, g, i, j, 0, p, q], x = q * sx - px + j * dx + offset[n, g, i, j, 1, p, q]
// where g is the offset group of channel c, and value is bilinear between cells; those outside the input are zero.
//
// input (n, c, h, w), contiguous or channels_last; weight (k, c / groups, kh, kw); offset (n, 2 * offset groups * kh *
// kw, out_h, out_w), mask (n, offset groups * kh * kw, out_h, out_w) or none for ones, each contiguous or
// channels_last; all of one dtype; bias (k) of that dtype or, beside halves, float32; out as the input. The numbers of
// groups follow from the shapes. Semantics of torchvision.ops.deform_conv2d, except that a position that is NaN or
// infinite is defined: it lies outside, with zero gradients. Halves are computed in float32.
//
// A thread owns what it writes, and every sum has one order: the same bits for any number of threads. No image is
// unfolded: samples are taken for a chunk of results at a time, and multiplied with packed weights while in cache.
#pragma once

#include <cstdint>
#include <optional>

#include "common/tensor_view.h"
#include "math/deform_conv2d.h"
#include "ops/pool2d.h"

namespace saccade {

struct DeformArguments {
  TensorView input, offset, weight;
  std::optional<TensorView> mask;
};

// stride, padding, dilation: along the rows, along the columns.
DeformShape check_deform_conv2d(const char* op, const DeformArguments& arguments, const Pair& stride,
                                const Pair& padding, const Pair& dilation);
// The shape of a convolution as far as its weights' order needs it.
DeformShape check_deform_conv2d_pack(const char* op, const TensorView& weight, std::int64_t groups);

// Elements of the packed weights, of the accumulator's type, and the packing.
std::int64_t deform_conv2d_packed_size(const DeformShape& shape, DType dtype);
void deform_conv2d_pack(const TensorView& weight, const DeformShape& shape, void* packed);

void deform_conv2d(const DeformArguments& arguments, const void* packed, const std::optional<TensorView>& bias,
                   const DeformShape& shape, const TensorView& out);

// Those of input, offset and mask; each may be missing. grad and grad_input in the format of the input, grad_offset and
// grad_mask in those of offset and mask; weight contiguous.
struct DeformSampleGradients {
  std::optional<TensorView> input, offset, mask;
};
void deform_conv2d_backward_samples(const TensorView& grad, const DeformArguments& arguments, const DeformShape& shape,
                                    const DeformSampleGradients& gradients);
// grad_weight contiguous, of the accumulator's dtype.
void deform_conv2d_backward_weight(const TensorView& grad, const DeformArguments& arguments, const DeformShape& shape,
                                   const TensorView& grad_weight);

}  // namespace saccade
