// Stands in for CUDA's header where kernels are compiled for the CPU (cuda/README.md): types,
// the runtime functions that launchers call, and what kernels call. Add what a kernel needs; leave out what has no
// meaning here (bulk copies): such a kernel keeps a plain twin. Tensor cores: mma.h.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "runtime.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __grid_constant__

// ---- Types ----------------------------------------------------------------------------------------------------------

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
// Aligned as on the device: UndefinedBehaviorSanitizer reports a vector access that is not.
#define SACCADE_HOST_VECTORS(type, name, bytes)                             \
  struct alignas(2 * bytes) name##2 { type x, y; };                         \
  struct alignas(bytes == 8 ? 16 : 4 * bytes) name##4 { type x, y, z, w; }; \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }          \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
SACCADE_HOST_VECTORS(unsigned char, uchar, 1)
SACCADE_HOST_VECTORS(short, short, 2)
SACCADE_HOST_VECTORS(unsigned short, ushort, 2)
SACCADE_HOST_VECTORS(int, int, 4)
SACCADE_HOST_VECTORS(unsigned, uint, 4)
SACCADE_HOST_VECTORS(float, float, 4)
SACCADE_HOST_VECTORS(double, double, 8)
#undef SACCADE_HOST_VECTORS

// The running thread's; runtime.cpp sets them.
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
constexpr int warpSize = cuda_host::kWarpSize;

// ---- Runtime --------------------------------------------------------------------------------------------------------

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorLaunchFailure = 719
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16 };
using cudaStream_t = struct CUstream_st*;

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
};

namespace cuda_host {
cudaError_t run_kernel(const cudaLaunchConfig_t& config, void (*body)(void*), void* context);
}
const char* cudaGetErrorString(cudaError_t error);

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  auto body = [&](Parameters... converted) {
    auto thread = [&] { kernel(converted...); };
    return cuda_host::run_kernel(*config, [](void* context) { (*static_cast<decltype(thread)*>(context))(); }, &thread);
  };
  return body(std::forward<Arguments>(arguments)...);
}

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int bytes) {
  constexpr int kMaxShared = 227 * 1024;
  return bytes <= kMaxShared ? cudaSuccess : cudaErrorInvalidValue;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
  if (bytes) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
  if (bytes) std::memset(to, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) { return *value = 2, cudaSuccess; }

// ---- Barriers and warps ---------------------------------------------------------------------------------------------

#define SACCADE_HERE cuda_host::Where where = cuda_host::Where::current()
using cuda_host::WarpOp;

inline void __syncthreads(SACCADE_HERE) { cuda_host::barrier("__syncthreads", false, where); }
inline int __syncthreads_count(int predicate, SACCADE_HERE) {
  return cuda_host::barrier("__syncthreads_count", predicate != 0, where);
}
inline int __syncthreads_or(int predicate, SACCADE_HERE) {
  return cuda_host::barrier("__syncthreads_or", predicate != 0, where) != 0;
}
inline int __syncthreads_and(int predicate, SACCADE_HERE) {
  return cuda_host::barrier("__syncthreads_and", predicate == 0, where) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, SACCADE_HERE) {
  cuda_host::warp({WarpOp::kSync, "__syncwarp", mask}, where);
}
// Threads never run at the same time here, so that memory is always in order.
inline void __threadfence() {}
inline void __threadfence_block() {}

inline unsigned __ballot_sync(unsigned mask, int predicate, SACCADE_HERE) {
  return static_cast<unsigned>(cuda_host::warp({WarpOp::kBallot, "__ballot_sync", mask, predicate != 0}, where));
}
inline int __any_sync(unsigned mask, int predicate, SACCADE_HERE) {
  return cuda_host::warp({WarpOp::kBallot, "__any_sync", mask, predicate != 0}, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, SACCADE_HERE) {
  return cuda_host::warp({WarpOp::kBallot, "__all_sync", mask, predicate == 0}, where) == 0;
}

namespace cuda_host {
template <class T>
T exchange(WarpOp op, const char* name, unsigned mask, T value, int argument, int width, Where where) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) >= 4);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = warp({op, name, mask, bits, argument, width}, where);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
T reduce(WarpOp op, const char* name, unsigned mask, T value, Where where) {
  // Through int64: the sign counts for minima and maxima.
  const auto wide = static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
  return static_cast<T>(warp({op, name, mask, wide}, where));
}
}  // namespace cuda_host

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = warpSize, SACCADE_HERE) {
  return cuda_host::exchange(WarpOp::kShuffle, "__shfl_sync", mask, value, lane, width, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, SACCADE_HERE) {
  return cuda_host::exchange(WarpOp::kShuffleUp, "__shfl_up_sync", mask, value, static_cast<int>(delta), width, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, SACCADE_HERE) {
  return cuda_host::exchange(WarpOp::kShuffleDown, "__shfl_down_sync", mask, value, static_cast<int>(delta), width,
                             where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize, SACCADE_HERE) {
  return cuda_host::exchange(WarpOp::kShuffleXor, "__shfl_xor_sync", mask, value, lane_mask, width, where);
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, SACCADE_HERE) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return static_cast<unsigned>(cuda_host::warp({WarpOp::kMatchAny, "__match_any_sync", mask, bits}, where));
}
// T: int or unsigned.
template <class T>
T __reduce_add_sync(unsigned mask, T value, SACCADE_HERE) {
  return cuda_host::reduce(WarpOp::kAdd, "__reduce_add_sync", mask, value, where);
}
template <class T>
T __reduce_min_sync(unsigned mask, T value, SACCADE_HERE) {
  return cuda_host::reduce(WarpOp::kMin, "__reduce_min_sync", mask, value, where);
}
template <class T>
T __reduce_max_sync(unsigned mask, T value, SACCADE_HERE) {
  return cuda_host::reduce(WarpOp::kMax, "__reduce_max_sync", mask, value, where);
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, SACCADE_HERE) {
  return cuda_host::reduce(WarpOp::kAnd, "__reduce_and_sync", mask, value, where);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, SACCADE_HERE) {
  return cuda_host::reduce(WarpOp::kOr, "__reduce_or_sync", mask, value, where);
}
inline unsigned __activemask() = delete;  // means nothing where threads run one after another: pass masks
#undef SACCADE_HERE

// ---- Atomics: threads run one at a time -----------------------------------------------------------------------------

template <class T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return std::exchange(*address, value);
}
template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return std::exchange(*address, static_cast<T>(*address + value));
}
template <class T>
T atomicSub(T* address, std::type_identity_t<T> value) {
  return std::exchange(*address, static_cast<T>(*address - value));
}
template <class T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return std::exchange(*address, value < *address ? value : *address);
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return std::exchange(*address, *address < value ? value : *address);
}
template <class T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return std::exchange(*address, *address & value);
}
template <class T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return std::exchange(*address, *address | value);
}
template <class T>
T atomicXor(T* address, std::type_identity_t<T> value) {
  return std::exchange(*address, *address ^ value);
}
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  const T old = *address;
  if (old == expected) *address = value;
  return old;
}

// ---- Arithmetic -----------------------------------------------------------------------------------------------------

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= (x >> i & 1u) << (31 - i);
  return reversed;
}
template <class To, class From>
To saccade_host_bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
inline int __float_as_int(float x) { return saccade_host_bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return saccade_host_bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return saccade_host_bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return saccade_host_bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return saccade_host_bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return saccade_host_bit_cast<double>(x); }
template <class T>
T __ldg(const T* address) {
  return *address;
}

// As CUDA has them: the usual arithmetic conversions, and NaN loses against a number.
template <class A, class B>
constexpr auto min(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(std::fmin(static_cast<T>(a), static_cast<T>(b)));
  } else {
    return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(a) : static_cast<T>(b);
  }
}
template <class A, class B>
constexpr auto max(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(std::fmax(static_cast<T>(a), static_cast<T>(b)));
  } else {
    return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
  }
}
