// Arrays between the host and the device.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstring>
#include <vector>

#include "cuda/common/torch.h"

namespace saccade::cuda {

// Host arrays that go to the device in one copy.
class Parcel {
 public:
  template <class T>
  void add(const T*& pointer, const T* values, std::size_t count) {
    const std::size_t at = (bytes_.size() + 15) / 16 * 16;
    bytes_.resize(at + count * sizeof(T));
    if (count != 0) std::memcpy(bytes_.data() + at, values, count * sizeof(T));
    places_.push_back({&pointer, at, [](void* where, std::byte* base) {
                         *static_cast<const T**>(where) = reinterpret_cast<const T*>(base);
                       }});
  }
  template <class T>
  void add(const T*& pointer, const std::vector<T>& values) {
    add(pointer, values.data(), values.size());
  }
  // Sets all pointers that were added. They are good as long as the tensor is.
  Tensor send(const Tensor& like, cudaStream_t stream) {
    const Tensor memory = scratch<std::byte>(static_cast<std::int64_t>(bytes_.size()), like);
    auto* base = view(memory).ptr<std::byte>();
    check(cudaMemcpyAsync(base, bytes_.data(), bytes_.size(), cudaMemcpyHostToDevice, stream), "copy to the device");
    for (const Place& place : places_) place.set(place.pointer, base + place.at);
    return memory;
  }

 private:
  struct Place {
    void* pointer;
    std::size_t at;
    void (*set)(void*, std::byte*);
  };
  std::vector<std::byte> bytes_;
  std::vector<Place> places_;
};

template <class T>
std::vector<T> download(const T* on_device, std::size_t count, cudaStream_t stream) {
  std::vector<T> values(count);
  if (count == 0) return values;
  check(cudaMemcpyAsync(values.data(), on_device, count * sizeof(T), cudaMemcpyDeviceToHost, stream),
        "copy from the device");
  check(cudaStreamSynchronize(stream), "waiting for the device");
  return values;
}

template <class T>
void upload(const Tensor& to, const T* values, std::size_t count, cudaStream_t stream) {
  if (count == 0) return;
  check(cudaMemcpyAsync(view(to).data, values, count * sizeof(T), cudaMemcpyHostToDevice, stream),
        "copy to the device");
  check(cudaStreamSynchronize(stream), "waiting for the device");  // the values may go away
}

}  // namespace saccade::cuda
