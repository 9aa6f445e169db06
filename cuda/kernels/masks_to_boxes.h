// CUDA kernels of masks_to_boxes (csrc/ops/masks_to_boxes.h).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/tensor_view.h"

namespace saccade::cuda {

// masks (n, h, w) with dense rows; extents: scratch for 4 n integers; boxes (n, 4) float32, dense.
void launch_masks_to_boxes(const TensorView& masks, unsigned long long* extents, const TensorView& boxes,
                           cudaStream_t stream);

}  // namespace saccade::cuda
