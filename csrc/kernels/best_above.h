// Kernels of best_above (csrc/ops/best_above.h).
#pragma once

#include <cstdint>
#include <type_traits>

#include "isa/isa.h"

namespace saccade {

template <class T>
struct Above {
  T value;
  std::int64_t index;
};

struct AboveScan {
  std::int64_t stopped;  // the index of the first value that was not looked at
  std::int64_t found;
};

constexpr std::int64_t kAboveBlock = 64;  // no level looks at more values at once

// Writes those of values [begin, end) that are above the threshold, in order, until all have been looked at or fewer
// than kAboveBlock of `room` places are left. There is room for a block, or for all.
template <class T>
using FindAbove = AboveScan (*)(const T* values, std::int64_t begin, std::int64_t end, T threshold, Above<T>* found,
                                std::int64_t room);

struct BestAboveKernels {
  FindAbove<float> f32;
  FindAbove<double> f64;

  template <class T>
  auto get() const {
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(BestAboveKernels, best_above_kernels)

}  // namespace saccade
