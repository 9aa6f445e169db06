// Where the pixels of a pasted mask lie in its cells, one axis at a time, for both devices.
//
// The formula and its roundings are those of torch's bilinear interpolation between cell centres.
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace saccade {

// A mask of `cells` stretched over the pixels `first` to `last`, both inclusive; none where last < first.
template <class A>
struct MaskAxis {
  std::int64_t first, last;
  A scale, end;  // cells for each pixel; the last cell
};

template <class A>
SACCADE_HD MaskAxis<A> mask_axis(std::int64_t first, std::int64_t last, std::int64_t cells) {
  constexpr std::int64_t kFar = std::int64_t{1}
                                << 52;  // beyond it nothing is in an image, and differences may overflow
  first = first < -kFar ? -kFar : first > kFar ? kFar : first;
  last = last < -kFar ? -kFar : last > kFar ? kFar : last;
  const std::int64_t pixels = last - first + 1;
  return {first, last, A(cells) / A(pixels > 1 ? pixels : 1), A(cells - 1)};
}

// The cell at or before a pixel, and how far it is on the way to the next one.
template <class A>
struct MaskCell {
  std::int64_t index;
  A weight;
};

template <class A>
SACCADE_HD MaskCell<A> mask_cell(const MaskAxis<A>& axis, std::int64_t pixel) {
  const A centre = (A(pixel - axis.first) + A(0.5)) * axis.scale - A(0.5);
  const A position = centre < A(0) ? A(0) : centre > axis.end ? axis.end : centre;
  const auto index = static_cast<std::int64_t>(position);
  return {index, position - A(index)};
}

}  // namespace saccade
