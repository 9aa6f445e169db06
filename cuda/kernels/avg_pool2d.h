#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "math/mean_windows.h"

namespace saccade::cuda {

// input and out, or grad and grad_input, are both contiguous or both channels_last: (images, channels, h, w). T: float,
// double, Float16, BFloat16.

template <class T>
void launch_avg_pool2d(const T* input, const MeanShape& shape, std::int64_t images, std::int64_t channels,
                       bool channels_last, T* out, cudaStream_t stream);

// Writes every element of grad_input.
template <class T>
void launch_avg_pool2d_backward(const T* grad, const MeanShape& shape, std::int64_t images, std::int64_t channels,
                                bool channels_last, T* grad_input, cudaStream_t stream);

}  // namespace saccade::cuda
