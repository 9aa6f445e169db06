// Several neighbouring elements in one memory access.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "math/half.h"

namespace saccade::cuda {

// N elements of T, aligned to their size: one load of up to 16 bytes.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T value[N];
};

template <int N, class T>
__device__ Pack<T, N> load_pack(const T* p) {
  return *reinterpret_cast<const Pack<T, N>*>(p);
}
template <class T, int N>
__device__ void store_pack(T* p, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(p) = pack;
}

// Whether tensors whose innermost dimension has `length` elements, and which begin at these addresses, are made of
// packs of `bytes` bytes.
template <class T, class... Pointers>
bool made_of_packs(int bytes, std::int64_t length, const Pointers*... pointers) {
  const bool aligned = ((reinterpret_cast<std::uintptr_t>(pointers) % static_cast<unsigned>(bytes) == 0) && ...);
  return aligned && length % (bytes / static_cast<int>(sizeof(T))) == 0;
}

}  // namespace saccade::cuda
