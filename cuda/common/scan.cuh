// Running sums in a warp.
#pragma once

#include <cuda_runtime.h>

namespace saccade::cuda {

constexpr int kWarp = 32;

// Adds up over the lanes of a warp up to and including the own one.
template <class V>
__device__ V warp_scan(V value, int lane) {
  for (int step = 1; step < kWarp; step *= 2) {
    const V before = __shfl_up_sync(0xffffffffu, value, step);
    if (lane >= step) value += before;
  }
  return value;
}

}  // namespace saccade::cuda
