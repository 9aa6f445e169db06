// Kernels of transposed convolutions whose groups have few channels (csrc/ops/conv_spread.h).
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "isa/isa.h"
#include "math/activation.h"

namespace saccade {

constexpr std::int64_t kSpreadMostTaps = 16;  // with more of them rows are not written around the caches

// out[e] = activation(scale[m] * sum over t of cells[t][e] * weights[t][m] + shift[m]) for e < count, where m = (phase
// + e) % period. The period is a multiple of a register's lanes; weights, scale and shift are continued by one register
// behind it, cells by one behind their last element.
template <class T>
struct SpreadRow {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const A *const *cells, *const *weights;
  std::int64_t taps, period, phase, count;
  const A *scale, *shift;
  T* out;
  bool past_caches;  // whether to write around the caches
  Activation activation;
};

template <class T>
struct ConvSpreadFunctions {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  void (*row)(const SpreadRow<T>& row);
  void (*fence)();  // after the last row that went around the caches, before another thread reads it
  // to[(j * times + r) * length + k] = pixels[j * pixel_step + places[k]] for j < count, r < times, k < length, and
  // whatever follows in two more registers. Without places place k is k.
  void (*spread)(const T* pixels, std::int64_t pixel_step, std::int64_t count, std::int64_t times, std::int64_t length,
                 const std::int64_t* places, A* to);
  std::int64_t lanes;
};

struct ConvSpreadKernels {
  ConvSpreadFunctions<Float16> f16;
  ConvSpreadFunctions<BFloat16> bf16;
  ConvSpreadFunctions<float> f32;
  ConvSpreadFunctions<double> f64;

  template <class T>
  const ConvSpreadFunctions<T>& get() const {
    if constexpr (std::is_same_v<T, Float16>) return f16;
    if constexpr (std::is_same_v<T, BFloat16>) return bf16;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(ConvSpreadKernels, conv_spread_kernels)

}  // namespace saccade
