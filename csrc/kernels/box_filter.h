// Kernels of box_filter (csrc/ops/box_filter.h).
#pragma once

#include <cstdint>

#include "isa/isa.h"
#include "math/box_mean.h"

namespace saccade {

template <class T>
struct BoxFilterKernels {
  using Sum = BoxTotal<T>;
  // to[x] = a[x] + pixels[x]; `a` null: zeros.
  void (*add_row)(const Sum* a, const T* pixels, std::int64_t width, Sum* to);
  // One row of output. `sums` holds width column sums from index `left` on; the mirrored ends are filled in here, up to
  // left + width + right = width + columns - 1 in all. `prefix` and `suffix` are scratch of the same length.
  void (*finish_row)(Sum* sums, std::int64_t left, std::int64_t width, std::int64_t columns, double area, Sum* prefix,
                     Sum* suffix, T* out);
  // to[x] = a[x] + b[x]
  void (*add_rows)(const Sum* a, const Sum* b, std::int64_t width, Sum* to);
};

struct BoxKernels {
  BoxFilterKernels<std::uint8_t> u8;
  BoxFilterKernels<float> f32;
  BoxFilterKernels<double> f64;
};
SACCADE_KERNELS(BoxKernels, box_kernels)

}  // namespace saccade
