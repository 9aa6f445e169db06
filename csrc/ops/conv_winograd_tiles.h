// The tiles of a Winograd convolution (csrc/ops/conv_winograd.h) in their order: images, phases of the rows, rows of
// tiles, columns of tiles, phases of the columns. So the tiles of a column, one for each phase, give m * dilation
// results of a row that are neighbours.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/conv_winograd.h"
#include "math/conv2d.h"

namespace saccade {

constexpr int kWinogradMostCells = 8;  // of a tile, along an axis

struct WinogradTiles {
  struct Place {
    std::int64_t image, y, x;  // of the first result
  };

  WinogradTiles(const ConvShape& shape, int m)
      : m(m),
        dy(shape.y.dilation),
        dx(shape.x.dilation),
        phases_y(std::min(dy, shape.y.out)),
        phases_x(std::min(dx, shape.x.out)),
        down(count(shape.y.out, dy)),
        across(count(shape.x.out, dx)) {}

  std::int64_t columns_per_image() const { return phases_y * down * across; }
  std::int64_t per_image() const { return columns_per_image() * phases_x; }

  Place place(std::int64_t tile) const {
    const std::int64_t column = tile / phases_x, line = column / across, phase = line / down;
    return {phase / phases_y, phase % phases_y + line % down * m * dy, tile % phases_x + column % across * m * dx};
  }

  int m;
  std::int64_t dy, dx, phases_y, phases_x, down, across;

 private:
  std::int64_t count(std::int64_t out, std::int64_t d) const { return ((out + d - 1) / d + m - 1) / m; }
};

// What a tile reads from images: `side` pixels along an axis, from `above` and `left` of the tile's first result on,
// zeros outside the images; and what transforms them.
struct WinogradSource {
  const float* data;
  std::int64_t height, width, channels, group_channels, above, left;
  int side;
  void (*transform)(const float* const* pixels, std::int64_t channels, float* transformed, std::int64_t step);
};

// Those of tiles of m x m results.
inline const WinogradFunctions& winograd_functions(int m) {
  const WinogradKernels& kernels = winograd_kernels();
  return m == 2 ? kernels.two : m == 4 ? kernels.four : kernels.six;
}

inline WinogradSource winograd_input(const float* input, const ConvShape& shape, int m) {
  return {input,
          shape.y.in,
          shape.x.in,
          shape.channels,
          shape.group_channels(),
          shape.y.padding,
          shape.x.padding,
          m + 2,
          winograd_functions(m).cells};
}
inline WinogradSource winograd_result_gradients(const float* gradients, const ConvShape& shape) {
  return {gradients,
          shape.y.out,
          shape.x.out,
          shape.out_channels,
          shape.group_out_channels(),
          0,
          0,
          4,
          winograd_kernels().result_gradients};
}

}  // namespace saccade
