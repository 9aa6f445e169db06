// Writing a PhaseRow.
#pragma once

#include "isa/simd.h"
#include "kernels/phase_row.h"

namespace saccade::SACCADE_ISA {

// Stride 2, the columns from x on: value(x, whole, lanes) gives them.
template <class A, class Value>
SACCADE_HD void write_halves(std::int64_t columns, const PhaseRow<A>& to, const Value& value) {
  constexpr int kN = kLanes<A>;
  using V = Vec<A>;
  const std::int64_t padding = to.padding;
  A* even = to.base + (padding & 1) * to.phase + (padding >> 1);
  A* odd = to.base + (~padding & 1) * to.phase + ((padding + 1) >> 1);
  std::int64_t x = 0;
  for (; x + 2 * kN <= columns; x += 2 * kN) {
    const V a = value(x, std::true_type{}, kN), b = value(x + kN, std::true_type{}, kN);
    store(even + x / 2, every_second<0>(a, b));
    store(odd + x / 2, every_second<1>(a, b));
  }
  const std::int64_t n = columns - x;
  if (n == 0) return;
  V a{}, b{};
  if (n >= kN) {
    a = value(x, std::true_type{}, kN);
    if (n > kN) b = value(x + kN, std::false_type{}, n - kN);
  } else {
    a = value(x, std::false_type{}, n);
  }
  store_partial(even + x / 2, every_second<0>(a, b), (n + 1) / 2);
  store_partial(odd + x / 2, every_second<1>(a, b), n / 2);
}

// Any stride; divisions, which cost as much as a dozen columns, stay out of the loops.
template <class A, class Value>
SACCADE_HD void write_phases(std::int64_t columns, const PhaseRow<A>& to, const Value& value) {
  constexpr int kN = kLanes<A>;
  if (to.stride == 2) return write_halves(columns, to, value);
  A lanes[kN];
  std::int64_t remainder = to.padding, place = 0;
  for (; remainder >= to.stride; remainder -= to.stride) ++place;
  for (std::int64_t x = 0; x < columns; x += kN) {
    const std::int64_t n = columns - x;
    const auto v = n >= kN ? value(x, std::true_type{}, kN) : value(x, std::false_type{}, n);
    if (to.stride == 1) {
      if (n >= kN) {
        store(to.base + place + x, v);
      } else {
        store_partial(to.base + place + x, v, n);
      }
      continue;
    }
    store(lanes, v);
    for (std::int64_t i = 0; i < kN && i < n; ++i) {
      to.base[remainder * to.phase + place] = lanes[i];
      if (++remainder == to.stride) remainder = 0, ++place;
    }
  }
}

}  // namespace saccade::SACCADE_ISA
