// 3 x 3 convolution of stride 1 by Winograd's minimal filtering (math/winograd.h), float32: tiles of m x m results
// become (m + 2)^2 small matrix products over the channels. A dilated one is dilation_y * dilation_x interleaved dense
// ones. The tiles are taken in chunks whose transformed cells and products stay within half of what the convolution's
// own operands take; each of the three steps of a chunk is shared among the threads. Both memory formats give the same
// bits: planes pass through strips whose channels are innermost (csrc/ops/conv_winograd_planes.h).
#pragma once

#include "math/conv2d.h"
#include "ops/conv_gemm.h"

namespace saccade {

std::int64_t winograd_packed_size(const ConvShape& shape, int m);
void winograd_pack(const ConvWeights& weights, const ConvShape& shape, int m, float* packed);
void conv_winograd(const TensorView& input, const float* packed, const ConvShape& shape, int m, bool channels_last,
                   const ConvAffine& affine, const TensorView& out);
// F(4 x 4); at least one image and one result.
void conv_winograd_weight_gradient(const TensorView& grad, const TensorView& input, const ConvShape& shape,
                                   bool channels_last, const ConvWeights& layout, float* gradient);

}  // namespace saccade
