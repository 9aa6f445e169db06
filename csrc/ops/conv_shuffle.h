// Dense transposed convolutions whose kernels are as many whole strides high and wide: the results between two
// neighbouring source cells, stride by stride of them, all read the same cells. So they are one product, of those cells
// with as many columns as the block has results, whose sums are then brought to where they belong.
// The interface is that of ops/conv_transpose2d.h.
#pragma once

#include "ops/conv_gemm.h"
#include "ops/conv_transpose2d.h"

namespace saccade {

bool conv_shuffle_serves(const ConvShape& shape);
std::int64_t conv_shuffle_packed_size(const ConvShape& shape, DType dtype);
void conv_shuffle_pack(const TensorView& weight, const ConvShape& shape, bool channels_last, void* packed);
void conv_shuffle(const TensorView& input, const void* packed, const ConvShape& shape, bool channels_last,
                  const ConvAffine& affine, const TensorView& out);

}  // namespace saccade
