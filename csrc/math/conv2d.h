// The geometry of a 2-D convolution, for the kernels of both devices.
#pragma once

#include <cstdint>

#include "math/windows.h"

namespace saccade {

struct ConvShape {
  WindowAxis y, x;
  std::int64_t images, channels, out_channels, groups;

  constexpr std::int64_t group_channels() const { return channels / groups; }
  constexpr std::int64_t group_out_channels() const { return out_channels / groups; }
  constexpr std::int64_t taps() const { return y.kernel * x.kernel; }
};

// Results (p, q) on a grid, each a weighted sum over taps of a source plane: tap t reads the source at
// (p * step_y + tap_y[t], q * step_x + tap_x[t]), zero outside it. Result (p, q) goes to row first_y + p * spread_y,
// column first_x + q * spread_x of the output plane. A convolution is one grid; a transposed one of stride s is s * s.
struct ConvGrid {
  std::int64_t source_h, source_w, rows, columns, step_y, step_x;
  std::int64_t taps;
  const std::int64_t *tap_y, *tap_x;
  std::int64_t out_h, out_w, first_y, first_x, spread_y, spread_x;

  std::int64_t results() const { return rows * columns; }
  // Whether the results are the whole output plane, in its order.
  bool dense() const { return spread_y == 1 && spread_x == 1 && columns == out_w && rows == out_h; }
  std::int64_t place(std::int64_t p, std::int64_t q) const {
    return (first_y + p * spread_y) * out_w + first_x + q * spread_x;
  }
  std::int64_t place(std::int64_t result) const { return place(result / columns, result % columns); }
};

}  // namespace saccade
