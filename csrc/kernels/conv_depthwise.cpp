// Depthwise 3 x 3 convolution that reads its cells in place: tiles of two rows by four columns go through all channels,
// so that every load is next to the one before; only tiles that reach outside, or a part of a register, have their
// cells copied. Floor: 72 multiply-adds for each register of channels of a tile, beside 24 cells and nine weights to
// load.
#include "kernels/conv_depthwise.h"

#include "kernels/conv_lanes_tile.h"

namespace saccade::SACCADE_ISA {
namespace {

template <class T, int Rows, int Columns, int Step>
void tile(const ConvLanes<T>& c, std::int64_t p, std::int64_t q) {
  using A = Accumulator<T>;
  constexpr int kN = kLanes<A>, kHeight = (Rows - 1) * Step + 3, kWidth = (Columns - 1) * Step + 3;
  const ConvGrid& grid = *c.grid;
  const std::int64_t y = p * Step + c.low_y, x = q * Step + c.low_x, width = grid.source_w * c.channels;
  const T* source = c.source + y * width + x * c.channels;
  const bool inside = y >= 0 && x >= 0 && y + kHeight <= grid.source_h && x + kWidth <= grid.source_w;
  const LanesPlace place(c, p, q);
  for (std::int64_t channel = 0; channel < c.channels; channel += kN) {
    const std::int64_t lanes = c.channels - channel < kN ? c.channels - channel : kN;
    const LanesOut<T> to(c, channel, lanes);
    const A* weights = c.weights + channel * 9;
    if (inside && lanes == kN) {
      tile_of_squares<T, 1, Rows, Columns, Step>(c, to, LanesCells<T>{source + channel, width, c.channels}, weights,
                                                 place);
      continue;
    }
    alignas(SACCADE_VEC_BYTES) A cells[kHeight * kWidth * kN];
    for (std::int64_t i = 0; i < kHeight; ++i)
      for (std::int64_t j = 0; j < kWidth; ++j) {
        const bool there = y + i >= 0 && y + i < grid.source_h && x + j >= 0 && x + j < grid.source_w;
        const T* from = source + i * width + j * c.channels + channel;
        store(cells + (i * kWidth + j) * kN, there ? load_lanes<A, false>(from, lanes) : Vec<A>{});
      }
    tile_of_squares<T, 1, Rows, Columns, Step>(c, to, LanesCells<A>{cells, kWidth * kN, kN}, weights, place);
  }
}

template <class T, int Rows, int Step>
void row_of_tiles(const ConvLanes<T>& c, std::int64_t p) {
  const std::int64_t columns = c.grid->columns;
  if (columns < kSquareColumns) {
    for (std::int64_t q = 0; q < columns; ++q) tile<T, Rows, 1, Step>(c, p, q);
    return;
  }
  std::int64_t q = 0;
  for (; q + kSquareColumns <= columns; q += kSquareColumns) tile<T, Rows, kSquareColumns, Step>(c, p, q);
  if (q < columns) tile<T, Rows, kSquareColumns, Step>(c, p, columns - kSquareColumns);
}

template <class T>
void rows(const ConvLanes<T>& c, std::int64_t first, std::int64_t last) {
  std::int64_t p = first;
  if (c.grid->step_y == 1) {
    for (; p + 2 <= last; p += 2) row_of_tiles<T, 2, 1>(c, p);
    if (p < last) row_of_tiles<T, 1, 1>(c, p);
  } else {
    for (; p + 2 <= last; p += 2) row_of_tiles<T, 2, 2>(c, p);
    if (p < last) row_of_tiles<T, 1, 2>(c, p);
  }
}

}  // namespace

const ConvDepthwiseKernels conv_depthwise_kernels = {rows<Float16>, rows<BFloat16>, rows<float>, rows<double>};

}  // namespace saccade::SACCADE_ISA
