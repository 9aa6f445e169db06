// Depthwise convolution that reads its cells in place: tiles go through all channels, so that every load is next to the
// one before; only tiles that reach outside, or a part of a register, have their cells copied. 3 x 3 taps of stride 1
// take two rows by four columns, with 72 multiply-adds for 24 cells and nine weights (two by eight would spill); all
// others a row of taps at a time for eight columns: 7 x 7, 56 for 14 cells and seven weights. Floor: the multiply-adds.
#include "kernels/conv_depthwise.h"

#include "kernels/conv_lanes_tile.h"

namespace saccade::SACCADE_ISA {
namespace {

constexpr int kColumns = 2 * kSquareColumns;  // of a tile of one row

// Width cells from (y, x) on, zeros outside the source.
template <class T, int Width>
void copy_cells(const ConvLanes<T>& c, std::int64_t y, std::int64_t x, std::int64_t channel, std::int64_t lanes,
                Accumulator<T>* to) {
  using A = Accumulator<T>;
  const ConvGrid& grid = *c.grid;
  const bool inside = y >= 0 && y < grid.source_h;
  const T* from = c.source + (y * grid.source_w + x) * c.channels + channel;
  for (std::int64_t i = 0; i < Width; ++i) {
    const bool there = inside && x + i >= 0 && x + i < grid.source_w;
    store(to + i * kLanes<A>, there ? load_lanes<A, false>(from + i * c.channels, lanes) : Vec<A>{});
  }
}

// 3 x 3 taps, stride 1.
template <class T, int Rows, int Columns>
void square_tile(const ConvLanes<T>& c, std::int64_t p, std::int64_t q) {
  using A = Accumulator<T>;
  constexpr int kN = kLanes<A>, kHeight = Rows + 2, kWidth = Columns + 2;
  const ConvGrid& grid = *c.grid;
  const std::int64_t y = p + c.low_y, x = q + c.low_x, width = grid.source_w * c.channels;
  const T* source = c.source + y * width + x * c.channels;
  const bool inside = y >= 0 && x >= 0 && y + kHeight <= grid.source_h && x + kWidth <= grid.source_w;
  const LanesPlace place(c, p, q);
  for (std::int64_t channel = 0; channel < c.channels; channel += kN) {
    const std::int64_t lanes = c.channels - channel < kN ? c.channels - channel : kN;
    const LanesOut<T> to(c, channel, lanes);
    const A* weights = c.weights + channel * 9;
    if (inside && lanes == kN) {
      tile_of_squares<T, 1, Rows, Columns, 1>(c, to, LanesCells<T>{source + channel, width, c.channels}, weights,
                                              place);
      continue;
    }
    alignas(SACCADE_VEC_BYTES) A cells[kHeight * kWidth * kN];
    for (std::int64_t i = 0; i < kHeight; ++i)
      copy_cells<T, kWidth>(c, y + i, x, channel, lanes, cells + i * kWidth * kN);
    tile_of_squares<T, 1, Rows, Columns, 1>(c, to, LanesCells<A>{cells, kWidth * kN, kN}, weights, place);
  }
}

template <class T, int Rows>
void row_of_squares(const ConvLanes<T>& c, std::int64_t p) {
  const std::int64_t columns = c.grid->columns;
  if (columns < kSquareColumns) {
    for (std::int64_t q = 0; q < columns; ++q) square_tile<T, Rows, 1>(c, p, q);
    return;
  }
  std::int64_t q = 0;
  for (; q + kSquareColumns <= columns; q += kSquareColumns) square_tile<T, Rows, kSquareColumns>(c, p, q);
  if (q < columns) square_tile<T, Rows, kSquareColumns>(c, p, columns - kSquareColumns);
}

template <class T>
void rows_of_squares(const ConvLanes<T>& c, std::int64_t first, std::int64_t last) {
  std::int64_t p = first;
  for (; p + 2 <= last; p += 2) row_of_squares<T, 2>(c, p);
  if (p < last) row_of_squares<T, 1>(c, p);
}

// Side x Side taps, a row of them at a time: Side weights stay in registers for the columns of one row of results.
template <class T, int Side, int Columns, int Step>
void tile_of_rows(const ConvLanes<T>& c, std::int64_t p, std::int64_t q) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  constexpr int kN = kLanes<A>, kWidth = (Columns - 1) * Step + Side;
  const ConvGrid& grid = *c.grid;
  const std::int64_t y = p * Step + c.low_y, x = q * Step + c.low_x, width = grid.source_w * c.channels;
  const bool inside = x >= 0 && x + kWidth <= grid.source_w;
  const LanesPlace place(c, p, q);
  for (std::int64_t channel = 0; channel < c.channels; channel += kN) {
    const std::int64_t lanes = c.channels - channel < kN ? c.channels - channel : kN;
    V sum[1][Columns];
#pragma GCC unroll 8
    for (int k = 0; k < Columns; ++k) sum[0][k] = V{};
    const auto add_row = [&](const auto* cells, std::int64_t column, const A* weights) {
      V w[Side];
#pragma GCC unroll 8
      for (int j = 0; j < Side; ++j) w[j] = load<V>(weights + j * kN);
#pragma GCC unroll 32
      for (int i = 0; i < kWidth; ++i) {
        const V cell = pinned(load_as<A, kN>(cells + i * column));
#pragma GCC unroll 8
        for (int k = 0; k < Columns; ++k)
          if (i >= k * Step && i < k * Step + Side) sum[0][k] = fma(cell, w[i - k * Step], sum[0][k]);
      }
    };
    for (std::int64_t j = y < 0 ? -y : 0; j < Side && y + j < grid.source_h; ++j) {
      const T* from = c.source + (y + j) * width + x * c.channels + channel;
      const A* weights = c.weights + (channel * Side + j * kN) * Side;
      if (inside && lanes == kN) {
        add_row(from, c.channels, weights);
        continue;
      }
      alignas(SACCADE_VEC_BYTES) A cells[kWidth * kN];
      copy_cells<T, kWidth>(c, y + j, x, channel, lanes, cells);
      add_row(cells, kN, weights);
    }
    write_tile<T>(c, LanesOut<T>(c, channel, lanes), place, sum);
  }
}

template <class T, int Side, int Columns, int Step>
void row_of(const ConvLanes<T>& c, std::int64_t p) {
  const std::int64_t columns = c.grid->columns;
  std::int64_t q = 0;
  for (; q + Columns <= columns; q += Columns) tile_of_rows<T, Side, Columns, Step>(c, p, q);
  if (q < columns) tile_of_rows<T, Side, Columns, Step>(c, p, columns - Columns);
}

template <class T, int Side, int Step>
void rows_of(const ConvLanes<T>& c, std::int64_t first, std::int64_t last) {
  for (std::int64_t p = first; p < last; ++p) {
    if (c.grid->columns >= kColumns) {
      row_of<T, Side, kColumns, Step>(c, p);
    } else if (c.grid->columns >= kColumns / 2) {
      row_of<T, Side, kColumns / 2, Step>(c, p);
    } else {
      row_of<T, Side, 1, Step>(c, p);
    }
  }
}

template <class T>
void rows(const ConvLanes<T>& c, std::int64_t first, std::int64_t last) {
  const bool single = c.grid->step_y == 1;
  switch (c.square) {
    case 3: return single ? rows_of_squares<T>(c, first, last) : rows_of<T, 3, 2>(c, first, last);
    case 5: return single ? rows_of<T, 5, 1>(c, first, last) : rows_of<T, 5, 2>(c, first, last);
    default: return single ? rows_of<T, 7, 1>(c, first, last) : rows_of<T, 7, 2>(c, first, last);
  }
}

}  // namespace

const ConvDepthwiseKernels conv_depthwise_kernels = {rows<Float16>, rows<BFloat16>, rows<float>, rows<double>};

}  // namespace saccade::SACCADE_ISA
