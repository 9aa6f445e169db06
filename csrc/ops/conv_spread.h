// Transposed convolutions whose groups have few channels, depthwise ones above all (bilinear up-sampling), with kernels
// that are as many whole strides wide. Neighbouring results in memory are the lanes of a register: in planes those of a
// row, in channels_last the channels and then the row. Each then reads the same cell as its neighbours or the next, so
// the cells of a source row are written once as often as they are read side by side, and serve all its result rows.
// The interface is that of ops/conv_transpose2d.h.
#pragma once

#include "ops/conv_gemm.h"
#include "ops/conv_transpose2d.h"

namespace saccade {

bool conv_spread_serves(const ConvShape& shape);
std::int64_t conv_spread_packed_size(const ConvShape& shape, DType dtype, bool channels_last);
void conv_spread_pack(const TensorView& weight, const ConvShape& shape, bool channels_last, void* packed);
void conv_spread(const TensorView& input, const void* packed, const ConvShape& shape, bool channels_last,
                 const ConvAffine& affine, const TensorView& out);

}  // namespace saccade
