// Sliding windows (pooling, convolution) along one axis: window p holds the cells p * stride - padding + i * dilation,
// i < kernel. The padding behind the last cell shows in `out` alone.
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace saccade {

struct WindowAxis {
  std::int64_t in, out, kernel, stride, padding, dilation;
};
struct WindowShape {
  WindowAxis y, x;
};
struct WindowRange {
  std::int64_t begin, end;  // empty where begin >= end
};

SACCADE_HD std::int64_t window_start(const WindowAxis& axis, std::int64_t p) { return p * axis.stride - axis.padding; }

// The taps i of window p whose cells exist.
SACCADE_HD WindowRange taps_inside(const WindowAxis& axis, std::int64_t p) {
  const std::int64_t start = window_start(axis, p), room = axis.in - start, step = axis.dilation;
  const std::int64_t begin = start < 0 ? (step - 1 - start) / step : 0;
  const std::int64_t end = room <= 0 ? 0 : (room + step - 1) / step;
  return {begin, end < axis.kernel ? end : axis.kernel};
}

// The windows that may hold cell y; those of a dilated kernel that step over it are among them.
SACCADE_HD WindowRange windows_over(const WindowAxis& axis, std::int64_t y) {
  const std::int64_t last = y + axis.padding, first = last - (axis.kernel - 1) * axis.dilation;
  const std::int64_t begin = first <= 0 ? 0 : (first + axis.stride - 1) / axis.stride, end = last / axis.stride + 1;
  return {begin, end < axis.out ? end : axis.out};
}

// The first cell of window (p, q) in row order, -1 where it has none; rows and columns are its taps_inside.
SACCADE_HD std::int64_t first_cell(const WindowShape& shape, std::int64_t p, std::int64_t q, WindowRange rows,
                                   WindowRange columns) {
  if (rows.begin >= rows.end || columns.begin >= columns.end) return -1;
  return (window_start(shape.y, p) + rows.begin * shape.y.dilation) * shape.x.in + window_start(shape.x, q) +
         columns.begin * shape.x.dilation;
}

}  // namespace saccade
