// A row of a plane, padded, with the columns sorted by their remainder modulo the stride, `phase` places for each, so
// that neighbouring windows find their cells side by side whatever the stride.
#pragma once

#include <cstdint>

#include "math/windows.h"

namespace saccade {

// Places for one remainder: whole registers of windows, and as far as the last one's cells reach.
SACCADE_HD std::int64_t phase_length(const WindowAxis& x) {
  constexpr std::int64_t kMostLanes = 16;
  const auto whole = [](std::int64_t n) { return (n + kMostLanes - 1) / kMostLanes * kMostLanes; };
  return whole(whole(x.out) + (x.kernel - 1) * x.dilation / x.stride);
}

// Column x of the plane goes to slot(row, x % stride)[x / stride].
template <class A>
struct PhaseRow {
  A* base;
  std::int64_t phase, stride, padding;
};

// Of `in` columns, those that have a place in the row: the others lie behind the last window.
template <class A>
SACCADE_HD std::int64_t columns_in(const PhaseRow<A>& row, std::int64_t in) {
  const std::int64_t room = row.phase * row.stride - row.padding;
  return in < room ? in : room;
}

}  // namespace saccade
