// Groups of two, four, eight channels, and depthwise ones that conv_depthwise.cpp leaves: a register holds whole
// groups, and input channel i of every group is one permutation of it away from all output channels that need it. The
// cells of a strip of rows are first brought together, zeros around them: pixels whose channels are a power of two
// apart would otherwise push each other out of L1, and no tap need be compared with the borders. 3 x 3 kernels take
// tiles of two rows by four columns: with the nine weights in registers, 24 cells serve 72 multiply-adds. Floor: the
// multiply-adds.
#include "kernels/conv_lanes.h"

#include "kernels/conv_lanes_tile.h"

namespace saccade::SACCADE_ISA {
namespace {

// The cells of a strip in the order of the source, a register of channels each, zeros outside it.
template <class T, bool Whole>
void copy_cells(const ConvLanes<T>& c, std::int64_t channel, std::int64_t lanes, std::int64_t first, std::int64_t rows,
                Accumulator<T>* to) {
  using A = Accumulator<T>;
  constexpr int kN = kLanes<A>;
  const ConvGrid& grid = *c.grid;
  const std::int64_t y0 = first * grid.step_y + c.low_y, height = (rows - 1) * grid.step_y + c.height;
  // Columns [begin, end) of the strip lie inside the source.
  std::int64_t begin = c.low_x < 0 ? -c.low_x : 0, end = grid.source_w - c.low_x;
  if (end > c.pitch) end = c.pitch;
  for (std::int64_t y = y0; y < y0 + height; ++y, to += c.pitch * kN) {
    const bool inside = y >= 0 && y < grid.source_h && begin < end;
    const T* row = c.source + (y * grid.source_w + c.low_x) * c.channels + channel;
    for (std::int64_t x = 0; x < (inside ? begin : c.pitch); ++x) store(to + x * kN, Vec<A>{});
    if (!inside) continue;
    for (std::int64_t x = begin; x < end; ++x) store(to + x * kN, load_lanes<A, Whole>(row + x * c.channels, lanes));
    for (std::int64_t x = end; x < c.pitch; ++x) store(to + x * kN, Vec<A>{});
  }
}

// Any taps, one row of results.
template <class T, int Group, int Columns>
SACCADE_HD void tile_of_taps(const ConvLanes<T>& c, const LanesOut<T>& to, const Accumulator<T>* cells,
                             const Accumulator<T>* weights, std::int64_t p, std::int64_t q) {
  using V = Vec<Accumulator<T>>;
  constexpr int kN = kLanes<Accumulator<T>>;
  const ConvGrid& grid = *c.grid;
  V sum[1][Columns];
#pragma GCC unroll 8
  for (int r = 0; r < Columns; ++r) sum[0][r] = V{};
  for (std::int64_t t = 0; t < grid.taps; ++t) {
    const auto* from = cells + ((grid.tap_y[t] - c.low_y) * c.pitch + grid.tap_x[t] - c.low_x) * kN;
#pragma GCC unroll 8
    for (int i = 0; i < Group; ++i) {
      const V w = load<V>(weights + (t * Group + i) * kN);
#pragma GCC unroll 8
      for (int r = 0; r < Columns; ++r)
        sum[0][r] = fma(spread<Group>(load<V>(from + r * grid.step_x * kN), i), w, sum[0][r]);
    }
  }
  write_tile<T>(c, to, LanesPlace(c, p, q), sum);
}

template <class T, int Group, int Rows, int Step>
void rows_of_squares(const ConvLanes<T>& c, const LanesOut<T>& to, const Accumulator<T>* cells,
                     const Accumulator<T>* weights, std::int64_t p) {
  constexpr int kN = kLanes<Accumulator<T>>;
  const LanesCells<Accumulator<T>> first = {cells, c.pitch * kN, kN};
  std::int64_t q = 0;
  for (; q + kSquareColumns <= c.grid->columns; q += kSquareColumns)
    tile_of_squares<T, Group, Rows, kSquareColumns, Step>(c, to, first.from(q * Step), weights, LanesPlace(c, p, q));
  for (; q < c.grid->columns; ++q)
    tile_of_squares<T, Group, Rows, 1, Step>(c, to, first.from(q * Step), weights, LanesPlace(c, p, q));
}

template <class T, int Group, int Step>
void strip_of_squares(const ConvLanes<T>& c, const LanesOut<T>& to, const Accumulator<T>* cells,
                      const Accumulator<T>* weights, std::int64_t first, std::int64_t rows) {
  const std::int64_t row = Step * c.pitch * kLanes<Accumulator<T>>;
  std::int64_t p = 0;
  for (; p + 2 <= rows; p += 2) rows_of_squares<T, Group, 2, Step>(c, to, cells + p * row, weights, first + p);
  if (p < rows) rows_of_squares<T, Group, 1, Step>(c, to, cells + p * row, weights, first + p);
}

template <class T, int Group>
void strip_of(const ConvLanes<T>& c, std::int64_t channel, std::int64_t first, std::int64_t rows,
              Accumulator<T>* cells) {
  using A = Accumulator<T>;
  constexpr int kN = kLanes<A>;
  const std::int64_t lanes = c.channels - channel < kN ? c.channels - channel : kN;
  if (lanes == kN) {
    copy_cells<T, true>(c, channel, lanes, first, rows, cells);
  } else {
    copy_cells<T, false>(c, channel, lanes, first, rows, cells);
  }
  const LanesOut<T> to(c, channel, lanes);
  const A* weights = c.weights + channel * Group * c.grid->taps;
  const std::int64_t step_y = c.grid->step_y, step_x = c.grid->step_x;
  if constexpr (Group > 1) {  // depthwise ones are conv_depthwise.cpp's
    if (c.square == 3 && step_y == 1 && step_x == 1)
      return strip_of_squares<T, Group, 1>(c, to, cells, weights, first, rows);
    if (c.square == 3 && step_y == 2 && step_x == 2)
      return strip_of_squares<T, Group, 2>(c, to, cells, weights, first, rows);
  }
  for (std::int64_t p = 0; p < rows; ++p) {
    const A* row = cells + p * step_y * c.pitch * kN;
    std::int64_t q = 0;
    for (; q + 4 <= c.grid->columns; q += 4)
      tile_of_taps<T, Group, 4>(c, to, row + q * step_x * kN, weights, first + p, q);
    for (; q < c.grid->columns; ++q) tile_of_taps<T, Group, 1>(c, to, row + q * step_x * kN, weights, first + p, q);
  }
}

template <class T>
void strip(const ConvLanes<T>& c, std::int64_t channel, std::int64_t first, std::int64_t rows, Accumulator<T>* cells) {
  constexpr int kN = kLanes<Accumulator<T>>;
  if constexpr (kN > 8)
    if (c.group == 8) return strip_of<T, 8>(c, channel, first, rows, cells);
  if constexpr (kN > 4)
    if (c.group == 4) return strip_of<T, 4>(c, channel, first, rows, cells);
  if constexpr (kN > 2)
    if (c.group == 2) return strip_of<T, 2>(c, channel, first, rows, cells);
  strip_of<T, 1>(c, channel, first, rows, cells);
}

template <class T, int Group, bool Whole>
SACCADE_HD void gradient_at(const ConvLanesGradient<T>& c, std::int64_t channel, std::int64_t lanes,
                            Accumulator<T>* sums) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  constexpr int kN = kLanes<A>;
  const ConvGrid& grid = *c.grid;
  for (std::int64_t i = 0; i < grid.taps * Group; ++i) store(sums + i * kN, V{});
  for (std::int64_t image = 0; image < c.images; ++image) {
    for (std::int64_t p = 0; p < grid.rows; ++p) {
      const T* results = c.results + (image * grid.results() + p * grid.columns) * c.channels + channel;
      for (std::int64_t t = 0; t < grid.taps; ++t) {
        const std::int64_t y = p * grid.step_y + grid.tap_y[t];
        if (y < 0 || y >= grid.source_h) continue;
        const T* source = c.source + (image * grid.source_h + y) * grid.source_w * c.channels + channel;
        V sum[Group] = {};
        for (std::int64_t q = 0; q < grid.columns; ++q) {
          const std::int64_t x = q * grid.step_x + grid.tap_x[t];
          if (x < 0 || x >= grid.source_w) continue;
          const V grad = load_lanes<A, Whole>(results + q * c.channels, lanes);
          const V cell = load_lanes<A, Whole>(source + x * c.channels, lanes);
#pragma GCC unroll 8
          for (int i = 0; i < Group; ++i) sum[i] = fma(spread<Group>(cell, i), grad, sum[i]);
        }
        // A row's sum of its own first: the rounding error of a long sum grows with its length.
        A* to = sums + t * Group * kN;
        for (int i = 0; i < Group; ++i) store(to + i * kN, load<V>(to + i * kN) + sum[i]);
      }
    }
  }
}

template <class T, int Group>
void gradient_of(const ConvLanesGradient<T>& c, std::int64_t channel, Accumulator<T>* sums) {
  constexpr int kN = kLanes<Accumulator<T>>;
  if constexpr (Group < kN) {
    if (channel + kN <= c.channels) return gradient_at<T, Group, true>(c, channel, kN, sums);
    gradient_at<T, Group, false>(c, channel, c.channels - channel, sums);
  }
}

template <class T>
void gradient(const ConvLanesGradient<T>& c, std::int64_t channel, Accumulator<T>* sums) {
  switch (c.group) {
    case 1: return gradient_of<T, 1>(c, channel, sums);
    case 2: return gradient_of<T, 2>(c, channel, sums);
    case 4: return gradient_of<T, 4>(c, channel, sums);
    default: return gradient_of<T, 8>(c, channel, sums);
  }
}

template <class T>
constexpr ConvLanesFunctions<T> functions() {
  return {strip<T>, gradient<T>, kLanes<Accumulator<T>>};
}

}  // namespace

const ConvLanesKernels conv_lanes_kernels = {functions<Float16>(), functions<BFloat16>(), functions<float>(),
                                             functions<double>()};

}  // namespace saccade::SACCADE_ISA
