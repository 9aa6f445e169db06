// How the operands of a convolution are cut and numbered: blocks of the depth, panels of columns, shares of the work.
#pragma once

#include <omp.h>

#include "common/parallel.h"
#include "ops/conv_gemm.h"

namespace saccade {

// The blocks of the depth, in the order of the packed weights: body(first channel, channels, first tap, taps, offset).
template <class Body>
void for_each_block(const ConvDepth& depth, const Body& body) {
  std::int64_t offset = 0;
  for (std::int64_t c = 0; c < depth.channels; c += depth.channel_block()) {
    const std::int64_t channels = std::min(depth.channel_block(), depth.channels - c);
    for (std::int64_t t = 0; t < depth.taps; t += depth.tap_block()) {
      const std::int64_t taps = std::min(depth.tap_block(), depth.taps - t);
      body(c, channels, t, taps, offset);
      offset += channels * taps;
    }
  }
}

// With few channels the taps of a row of the kernel are taken as one of as many more channels, whose cells are
// neighbours in memory. How many; 1: every tap by itself.
inline std::int64_t neighbouring_taps(const ConvProblem& problem) {
  constexpr std::int64_t kFew = 16;
  const ConvGrid& grid = problem.grid;
  const ConvDepth depth = problem.depth();
  if (problem.groups > 1 || depth.channels > kFew || depth.whole() > ConvDepth::kBlock || grid.taps == 0) return 1;
  const auto follows = [&](std::int64_t t) {
    return grid.tap_y[t] == grid.tap_y[t - 1] && grid.tap_x[t] == grid.tap_x[t - 1] + 1;
  };
  std::int64_t run = 1;
  while (run < grid.taps && follows(run)) ++run;
  for (std::int64_t t = 1; t < grid.taps; ++t)
    if (follows(t) != (t % run != 0)) return 1;
  return grid.taps % run == 0 ? run : 1;
}

// The steps of a product through the depth: each takes `width` elements of the cells of one run of taps, fewer at its
// end.
struct ConvSteps {
  ConvDepth depth;
  std::int64_t run, width;

  // Those ahead of tap t in the block of `channels` channels from c on.
  std::int64_t before(std::int64_t c, std::int64_t channels, std::int64_t t) const {
    static_assert(ConvDepth::kBlock % 2 == 0);
    return c * depth.taps / width + t / run * ((channels * run + width - 1) / width);
  }
  std::int64_t whole() const {
    const std::int64_t last = depth.channels % ConvDepth::kBlock;
    return before(depth.channels - last, last, depth.taps);
  }
};

struct Panels {
  std::int64_t most, total, lanes;  // columns of a panel, of all, of a register

  std::int64_t count() const { return (total + most - 1) / most; }
  std::int64_t first(std::int64_t panel) const { return panel * most; }
  std::int64_t columns(std::int64_t panel) const { return std::min(most, total - panel * most); }
  std::int64_t pitch(std::int64_t panel) const { return (columns(panel) + lanes - 1) / lanes * lanes; }
  std::int64_t padded() const { return (total + lanes - 1) / lanes * lanes; }
};
template <class T>
Panels panels_of(std::int64_t total) {
  const auto& kernels = conv_gemm_kernels().get<T>();
  return {kernels.columns, total, kernels.lanes};
}

// Tiles of rows [first, last): body(first row, rows).
template <class Body>
void for_each_tile(std::int64_t first, std::int64_t last, const Body& body) {
  for (std::int64_t r = first; r < last; r += kConvRows) body(r, std::min(kConvRows, last - r));
}

// Into how many parts of whole tiles `rows` are cut so that `units` pieces of work occupy every thread.
inline std::int64_t row_parts(std::int64_t units, std::int64_t rows) {
  const std::int64_t wanted = 2 * omp_get_max_threads(), tiles = (rows + kConvRows - 1) / kConvRows;
  if (omp_get_max_threads() == 1 || units >= wanted) return 1;
  return std::min(tiles, (wanted + units - 1) / units);
}
struct RowPart {
  std::int64_t first, last;
};
inline RowPart row_part(std::int64_t part, std::int64_t parts, std::int64_t rows) {
  const std::int64_t tiles = (rows + kConvRows - 1) / kConvRows;
  return {tiles * part / parts * kConvRows, std::min(rows, tiles * (part + 1) / parts * kConvRows)};
}

// Pieces of work that are worth a thread: about 2^17 multiply-adds.
inline std::int64_t conv_grain(std::int64_t multiply_adds) {
  return std::max<std::int64_t>(1, (std::int64_t{1} << 17) / std::max<std::int64_t>(1, multiply_adds));
}

}  // namespace saccade
