// Kernels of roi_pool (csrc/ops/roi_pool.h).
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "isa/isa.h"
#include "kernels/roi_align.h"

namespace saccade {

// The cells of a region's bins: rows [rows[2 i], rows[2 i + 1]), columns likewise.
struct RoiBins {
  const std::int32_t *rows, *columns;
  std::int64_t pooled_h, pooled_w, map_w;
  bool streamed;  // past the caches, where out and argmax are larger than they are; every bin starts a line
};

// A region's or a bin's part of a gradient. The kernels fetch the one that comes next into the cache meanwhile.
template <class T>
struct RoiPoolGradient {
  const T* grad;
  const std::int32_t* argmax;
};

template <class T>
struct RoiPoolFunctions {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  // One region, channels innermost: out and argmax at [bin * bin_stride + c].
  void (*forward)(const MapBlock<const T>& map, const RoiBins& bins, std::int64_t channels, T* out,
                  std::int32_t* argmax, std::int64_t bin_stride);
  // One bin, channels innermost: grad_map[(argmax - first_cell) * channels + c] += grad where that lies on the map's
  // `cells` cells; argmax is -1 where a bin has no maximum.
  void (*backward)(const RoiPoolGradient<T>& from, const RoiPoolGradient<T>& next, std::int64_t channels, A* grad_map,
                   std::int64_t first_cell, std::int64_t cells);
  // A region on planes: grad and argmax at [c * bins + bin], the map at [c * plane_stride + cell].
  void (*backward_planes)(const RoiPoolGradient<T>& from, const RoiPoolGradient<T>& next, std::int64_t bins,
                          std::int64_t channels, A* grad_map, std::int64_t plane_stride);
};

struct RoiPoolKernels {
  RoiPoolFunctions<Float16> f16;
  RoiPoolFunctions<BFloat16> bf16;
  RoiPoolFunctions<float> f32;
  RoiPoolFunctions<double> f64;

  template <class T>
  const RoiPoolFunctions<T>& get() const {
    if constexpr (std::is_same_v<T, Float16>) return f16;
    if constexpr (std::is_same_v<T, BFloat16>) return bf16;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(RoiPoolKernels, roi_pool_kernels)

}  // namespace saccade
