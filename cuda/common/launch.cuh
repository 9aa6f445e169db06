// Starting kernels, and what every kernel may use. The only place that knows how a kernel is launched: the same sources
// also compile for the CPU (tests/cuda_host), which has no <<<...>>>.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "common/macros.h"
#include "cuda/common/check.h"

// A variable that the threads of a block share: SACCADE_SHARED(float[32][33], tile). Uninitialised, as on the device.
// (__shared__ itself would give the CPU build neither a fresh variable per block nor a bounds check.)
#if defined(SACCADE_CUDA_HOST)
#define SACCADE_SHARED(type, name)                        \
  static ::cuda_host::SharedVariable<type> name##_shared; \
  auto& name = name##_shared.of_this_block()
#else
#define SACCADE_SHARED(type, name) __shared__::std::type_identity_t<type> name
#endif

namespace saccade::cuda {

struct LaunchShape {
  dim3 grid, block;
  cudaStream_t stream = nullptr;
  std::size_t shared_bytes = 0;  // of dynamic_shared
};

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...), with errors as exceptions. An empty grid starts nothing.
template <class... Parameters, class... Arguments>
void launch(const LaunchShape& shape, void (*kernel)(Parameters...), Arguments&&... arguments) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  constexpr std::size_t kWithoutOptIn = 48 * 1024;
  if (shape.shared_bytes > kWithoutOptIn) {
    check(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.shared_bytes)),
        "shared memory of a CUDA kernel");
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = shape.stream;
  check(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...), "launch of a CUDA kernel");
}

// The number of blocks that gives each of `count` items one thread: grid.x may be as large as 2^31 - 1.
inline unsigned blocks_for(std::int64_t count, int threads) {
  const std::int64_t blocks = (count + threads - 1) / threads;
  if (blocks > 0x7fffffff)
    throw std::runtime_error("saccade: " + std::to_string(count) + " items are too many for one kernel");
  return static_cast<unsigned>(blocks);
}

// This thread's place among all threads of a one-dimensional launch.
__device__ inline std::int64_t thread_index() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

// The block's shared memory of LaunchShape::shared_bytes bytes, aligned to 16.
template <class T>
__device__ T* dynamic_shared() {
#if defined(SACCADE_CUDA_HOST)
  return static_cast<T*>(::cuda_host::dynamic_shared());
#else
  extern __shared__ __align__(16) unsigned char saccade_dynamic_shared[];
  return reinterpret_cast<T*>(saccade_dynamic_shared);
#endif
}

}  // namespace saccade::cuda
