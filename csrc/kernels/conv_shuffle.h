// How the results of dense transposed convolutions come to where they belong (csrc/ops/conv_shuffle.h).
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "isa/isa.h"

namespace saccade {

// Columns [first, first + columns) of the results of `count` blocks, values[i * pitch + j] being column first + j of
// block i. They are cut into runs: column r * run + w goes to out[places[i] + r * step + w]. Of block i only runs
// [begin[i], end[i]) exist or, with `within`, only elements [begin[i], end[i]) of each run.
template <class T>
struct ShuffledBlocks {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const A* values;
  std::int64_t pitch, count, first, columns, run, step;
  bool within;
  const std::int64_t *places, *begin, *end;
  T* out;
};

template <class T>
struct ConvShuffleFunctions {
  void (*place)(const ShuffledBlocks<T>& blocks);
};

struct ConvShuffleKernels {
  ConvShuffleFunctions<Float16> f16;
  ConvShuffleFunctions<BFloat16> bf16;
  ConvShuffleFunctions<float> f32;
  ConvShuffleFunctions<double> f64;

  template <class T>
  const ConvShuffleFunctions<T>& get() const {
    if constexpr (std::is_same_v<T, Float16>) return f16;
    if constexpr (std::is_same_v<T, BFloat16>) return bf16;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(ConvShuffleKernels, conv_shuffle_kernels)

}  // namespace saccade
