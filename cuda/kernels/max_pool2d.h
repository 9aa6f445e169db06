#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "math/windows.h"

namespace saccade::cuda {

// input, out and indices (which may be null), or grad, indices and grad_input, are all contiguous or all channels_last:
// (images, channels, h, w). T: float, double, Float16, BFloat16.

template <class T>
void launch_max_pool2d(const T* input, const WindowShape& shape, std::int64_t images, std::int64_t channels,
                       bool channels_last, bool minimum, T* out, std::int64_t* indices, cudaStream_t stream);

// Writes every element of grad_input.
template <class T>
void launch_max_pool2d_backward(const T* grad, const std::int64_t* indices, const WindowShape& shape,
                                std::int64_t images, std::int64_t channels, bool channels_last, T* grad_input,
                                cudaStream_t stream);

}  // namespace saccade::cuda
