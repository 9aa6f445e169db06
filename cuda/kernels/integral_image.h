// CUDA kernels of integral_image (csrc/ops/integral_image.h).
#pragma once

#include <cuda_runtime.h>

#include "common/tensor_view.h"

namespace saccade::cuda {

// The padded layout. image (..., h, w) and the outputs are contiguous; square and tilted are left alone where they have
// no dtype.
void launch_integral_image(const TensorView& image, const TensorView& sum, const TensorView& square,
                           const TensorView& tilted, cudaStream_t stream);

}  // namespace saccade::cuda
