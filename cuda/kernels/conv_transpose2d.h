// conv_transpose2d (csrc/ops/conv_transpose2d.h).
#pragma once
#include "cuda/kernels/conv2d.h"

namespace saccade::cuda {

// packed: launch_conv2d_pack for the gradient. Image and result both contiguous or both channels_last.
template <class T>
void launch_conv_transpose2d(const ConvShape& shape, bool channels_last, const T* input, const T* packed,
                             const ConvTail<T>& tail, T* out, cudaStream_t stream);

}  // namespace saccade::cuda
