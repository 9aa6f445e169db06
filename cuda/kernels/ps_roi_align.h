#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/kernels/roi.h"

namespace saccade::cuda {

// ps_roi_align and ps_roi_pool, by geometry.kind. Maps and outputs are all contiguous or all channels_last; `channels`
// are the outputs'. A: float, or double where T is.

// Some regions, of those that `regions` and `out` begin with: their taps are `begins` and `taps` (launch_roi_taps).
template <class T, class A>
void launch_ps_roi(const T* input, const RoiGeometry& geometry, std::int64_t channels, bool channels_last,
                   const Region<A>* regions, std::int64_t count, const std::int32_t* begins, const Tap<A>* taps, T* out,
                   cudaStream_t stream);

// Writes every element of grad_input. order, map_begin: of launch_roi_order.
template <class T, class A>
void launch_ps_roi_backward(const T* grad, const RoiGeometry& geometry, std::int64_t channels, bool channels_last,
                            const Region<A>* regions, const std::int32_t* order, const std::int32_t* map_begin,
                            T* grad_input, cudaStream_t stream);

}  // namespace saccade::cuda
