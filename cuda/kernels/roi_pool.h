#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/kernels/roi.h"

namespace saccade::cuda {

// input, out and argmax, or grad, argmax and grad_input, are all contiguous or all channels_last. A: float, or double
// where T is.

template <class T, class A>
void launch_roi_pool(const T* input, const RoiGeometry& geometry, std::int64_t channels, bool channels_last,
                     const Region<A>* regions, std::int64_t count, T* out, std::int32_t* argmax, cudaStream_t stream);

// Writes every element of grad_input. order, map_begin: of launch_roi_order.
template <class T, class A>
void launch_roi_pool_backward(const T* grad, const std::int32_t* argmax, const RoiGeometry& geometry,
                              std::int64_t channels, bool channels_last, const Region<A>* regions,
                              const std::int32_t* order, const std::int32_t* map_begin, T* grad_input,
                              cudaStream_t stream);

}  // namespace saccade::cuda
