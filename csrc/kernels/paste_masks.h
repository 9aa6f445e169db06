// Kernels of paste_masks (csrc/ops/paste_masks.h).
#pragma once

#include <cstdint>
#include <type_traits>

#include "isa/isa.h"
#include "math/paste_masks.h"

namespace saccade {

// Rows [begin, end) of one image, `width` pixels each, to `out`.
template <class T>
struct MaskRows {
  using Index = std::conditional_t<std::is_same_v<T, double>, std::int64_t, std::int32_t>;
  const T* cells;  // side * side
  std::int64_t side;
  MaskAxis<T> x, y;
  std::int64_t begin, end, width;
  T* out;
  T *row, *weight;  // working memory: side + 1 and width values
  Index* index;     // and as many of these
};

struct PasteMasksKernels {
  void (*f32)(const MaskRows<float>& rows);
  void (*f64)(const MaskRows<double>& rows);

  template <class T>
  auto get() const {
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(PasteMasksKernels, paste_masks_kernels)

}  // namespace saccade
