// Means over rectangles of pixels (csrc/ops/box_filter.h).
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/macros.h"

namespace saccade {

// What pixels are added up in.
template <class T>
using BoxTotal = std::conditional_t<sizeof(T) == 1, std::uint32_t, double>;

// total / area; `inverse` is 1 / area. uint8 rounds to nearest, halves up. Totals are whole: the term 2^-30 makes up
// for the rounding of 1 / area and is less than the distance of any other mean from a half.
template <class T>
SACCADE_HD T box_mean(BoxTotal<T> total, double area, double inverse) {
  if constexpr (sizeof(T) == 1)
    return static_cast<T>(static_cast<std::int32_t>((static_cast<double>(total) + 0.5 * area) * inverse + 0x1p-30));
  else
    return static_cast<T>(total / area);
}

}  // namespace saccade
