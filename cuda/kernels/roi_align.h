#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/kernels/roi.h"

namespace saccade::cuda {

// Maps and outputs are all contiguous or all channels_last. A: float, or double where T is.

template <class T>
struct RoiMaps {
  T* data[kMaxRoiLevels];  // (images, channels, h, w) of each level
};

// Some regions, of those that `regions` and `out` begin with: their taps are `begins` and `taps` (launch_roi_taps).
template <class T, class A>
void launch_roi_align(const RoiMaps<const T>& maps, const RoiGeometry& geometry, std::int64_t channels,
                      bool channels_last, const Region<A>* regions, std::int64_t count, const std::int32_t* begins,
                      const Tap<A>* taps, T* out, cudaStream_t stream);

// Writes every element of grad_maps. order, map_begin: of launch_roi_order.
template <class T, class A>
void launch_roi_align_backward(const T* grad, const RoiGeometry& geometry, std::int64_t channels, bool channels_last,
                               const Region<A>* regions, const std::int32_t* order, const std::int32_t* map_begin,
                               const RoiMaps<T>& grad_maps, cudaStream_t stream);

}  // namespace saccade::cuda
