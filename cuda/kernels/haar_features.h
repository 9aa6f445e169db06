// CUDA kernels of haar_features (csrc/ops/haar_features.h).
#pragma once

#include <cuda_runtime.h>

#include "ops/haar_features.h"

namespace saccade::cuda {

// All contiguous; `tilted` without dtype where there is none. What lies on the device is not checked beforehand:
// windows beyond their image and features that point beyond a window give zeros.
void launch_haar_features(const TensorView& sum, const TensorView& tilted, const HaarTable& table,
                          const TensorView& windows, const TensorView& values, cudaStream_t stream);

}  // namespace saccade::cuda
