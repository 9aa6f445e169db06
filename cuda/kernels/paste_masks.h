// CUDA kernels of paste_masks (csrc/ops/paste_masks.h).
#pragma once

#include <cuda_runtime.h>

#include "common/tensor_view.h"

namespace saccade::cuda {

// All contiguous.
void launch_paste_masks(const TensorView& masks, const TensorView& corners, const TensorView& out, cudaStream_t stream);

}  // namespace saccade::cuda
