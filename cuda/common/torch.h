// What the CUDA bindings share: the device and stream of a tensor, sorting, sizes that the device knows.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <tuple>

#include "bind_torch/tensor.h"
#include "cuda/common/check.h"

namespace saccade::cuda {

using bind_torch::empty;
using bind_torch::ScalarType;
using bind_torch::Tensor;
using bind_torch::view;

// For its lifetime, kernels and allocations go to the device of a tensor, in the order of torch's current stream there.
#if defined(SACCADE_CUDA_HOST)
class DeviceOf {
 public:
  explicit DeviceOf(const Tensor&) {}
  cudaStream_t stream() const { return nullptr; }
};
#else
class DeviceOf {
 public:
  explicit DeviceOf(const Tensor& tensor) {
    const std::int32_t index = tensor.get_device_index();
    STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_create_cuda_guard(index, &guard_));
    void* stream = nullptr;
    STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(index, &stream));
    stream_ = static_cast<cudaStream_t>(stream);
  }
  ~DeviceOf() { aoti_torch_delete_cuda_guard(guard_); }
  DeviceOf(const DeviceOf&) = delete;
  DeviceOf& operator=(const DeviceOf&) = delete;
  cudaStream_t stream() const { return stream_; }

 private:
  CUDAGuardHandle guard_ = nullptr;
  cudaStream_t stream_ = nullptr;
};
#endif

// Uninitialised memory for `count` elements of T beside `like`: keep the tensor until the last launch that uses it.
template <class T>
Tensor scratch(std::int64_t count, const Tensor& like) {
  return empty({count * static_cast<std::int64_t>(sizeof(T))}, like, ScalarType::Byte);
}

inline void fill_zero(const Tensor& tensor, cudaStream_t stream) {
  const TensorView seen = view(tensor);
  check(cudaMemsetAsync(seen.data, 0, seen.numel() * dtype_size(seen.dtype), stream), "filling with zeros");
}

// torch.sort(tensor, dim=dim, descending=descending, stable=True): values and int64 indices. NaN counts as the largest.
inline std::tuple<Tensor, Tensor> stable_sort(const Tensor& tensor, std::int64_t dim, bool descending) {
  using torch::stable::detail::from, torch::stable::detail::to;
  std::array<StableIValue, 4> stack{from(tensor), from(std::optional<bool>(true)), from(dim), from(descending)};
  STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::sort", "stable", stack.data(), TORCH_ABI_VERSION));
  return {to<Tensor>(stack[0]), to<Tensor>(stack[1])};
}

// The value behind a device pointer; waits for the stream. For outputs whose size only the device knows.
template <class T>
T read_value(const T* on_device, cudaStream_t stream) {
  T value;
  check(cudaMemcpyAsync(&value, on_device, sizeof value, cudaMemcpyDeviceToHost, stream), "copy from the device");
  check(cudaStreamSynchronize(stream), "waiting for the device");
  return value;
}

}  // namespace saccade::cuda

// Every file of cuda/bind registers its CUDA kernels: SACCADE_TORCH_CUDA(m) { m.impl("nms", SACCADE_BOX(nms)); }
#if defined(SACCADE_CUDA_HOST)
#define SACCADE_TORCH_CUDA(m) SACCADE_HOST_REGISTRATION(kCuda, m)
#else
#define SACCADE_TORCH_CUDA(m) STABLE_TORCH_LIBRARY_IMPL(saccade, CUDA, m)
#endif
