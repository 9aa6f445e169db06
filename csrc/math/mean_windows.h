// The windows of average pooling along one axis: the cells of a window, the windows over a cell, what a mean is divided
// by. Both lists of ranges ascend at both ends.
#pragma once

#include "math/windows.h"

namespace saccade {

struct MeanAxis {
  WindowAxis window;     // undilated; adaptive: in, out, and as kernel the most cells of a window
  bool adaptive;         // window p holds the cells [floor(p * in / out), ceil((p + 1) * in / out))
  bool counts_padding;   // but not beyond the padding
  std::int64_t divisor;  // this axis' part of it; 0: the number of cells
};
struct MeanShape {
  MeanAxis y, x;
};

SACCADE_HD WindowRange cells_in(const MeanAxis& axis, std::int64_t p) {
  const WindowAxis& window = axis.window;
  if (axis.adaptive) return {p * window.in / window.out, ((p + 1) * window.in + window.out - 1) / window.out};
  const std::int64_t start = window_start(window, p), end = start + window.kernel;
  return {start < 0 ? 0 : start, end < window.in ? end : window.in};
}

// The mirror image of it: cell y touches window p where window p holds cell y.
SACCADE_HD WindowRange windows_with(const MeanAxis& axis, std::int64_t y) {
  const WindowAxis& window = axis.window;
  if (axis.adaptive) return {y * window.out / window.in, ((y + 1) * window.out + window.in - 1) / window.in};
  return windows_over(window, y);
}

SACCADE_HD std::int64_t cells_counted(const MeanAxis& axis, std::int64_t p) {
  if (axis.divisor != 0) return axis.divisor;
  const WindowAxis& window = axis.window;
  if (axis.counts_padding) {
    const std::int64_t room = window.in + window.padding - window_start(window, p);
    return room < window.kernel ? room : window.kernel;
  }
  const WindowRange cells = cells_in(axis, p);
  return cells.end - cells.begin;
}

}  // namespace saccade
