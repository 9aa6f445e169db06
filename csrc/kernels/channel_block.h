// Planes to channels-last and back, for a block of channels: how NCHW maps reach kernels that want channels innermost.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "isa/isa.h"

namespace saccade {

template <class T>
struct ChannelBlockFunctions {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  // out[j * cell_stride + c] = planes[c * plane_stride + j] for j < cells, c < channels.
  void (*pack)(const T* planes, std::int64_t plane_stride, std::int64_t channels, std::int64_t cells, A* out,
               std::int64_t cell_stride);
  // planes[c * plane_stride + j] = in[j * cell_stride + c].
  void (*unpack)(const A* in, std::int64_t cell_stride, std::int64_t channels, std::int64_t cells, T* planes,
                 std::int64_t plane_stride);
  // Reads p[0 .. count), so that it is in the cache.
  void (*fetch)(const T* p, std::int64_t count);
};

struct ChannelBlockKernels {
  ChannelBlockFunctions<Float16> f16;
  ChannelBlockFunctions<BFloat16> bf16;
  ChannelBlockFunctions<float> f32;
  ChannelBlockFunctions<double> f64;
  // Copies whole cache lines past the caches.
  void (*copy_past_caches)(const void* from, void* to, std::int64_t bytes);

  template <class T>
  const ChannelBlockFunctions<T>& get() const {
    if constexpr (std::is_same_v<T, Float16>) return f16;
    if constexpr (std::is_same_v<T, BFloat16>) return bf16;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(ChannelBlockKernels, channel_block_kernels)

}  // namespace saccade
