// A tile of results of a convolution in lanes (kernels/conv_lanes.h), as the kernels that bring its cells together and
// those that read them in place share it.
#pragma once

#include "kernels/activate.h"
#include "kernels/conv_lanes.h"
#include "kernels/streams.h"

namespace saccade::SACCADE_ISA {

// Lane l becomes lane l / Group * Group + i.
template <int Group, class V>
SACCADE_HD V spread(V v, int i) {
  if constexpr (Group == 1) return v;
  Mask<V> index;
  for (int l = 0; l < kLanesOf<V>; ++l) index[l] = l / Group * Group;
  return __builtin_shuffle(v, index + i);
}

template <class T>
struct LanesOut {
  LanesOut(const ConvLanes<T>& c, std::int64_t channel, std::int64_t lanes)
      : scale(load_lanes<Accumulator<T>, false>(c.scale + channel, lanes)),
        shift(load_lanes<Accumulator<T>, false>(c.shift + channel, lanes)),
        channel(channel),
        lanes(lanes) {}
  Vec<Accumulator<T>> scale, shift;
  std::int64_t channel, lanes;
};

// Where the results of a tile lie: the first, from row to row, from column to column.
struct LanesPlace {
  template <class T>
  LanesPlace(const ConvLanes<T>& c, std::int64_t p, std::int64_t q)
      : first(c.grid->place(p, q) * c.channels),
        row(c.grid->place(p + 1, q) * c.channels - first),
        column(c.grid->spread_x * c.channels) {}
  std::int64_t first, row, column;
};

template <class T, bool Whole, int Rows, int Columns>
SACCADE_HD void write_lanes(const ConvLanes<T>& c, const LanesOut<T>& to, const LanesPlace& place,
                            Vec<Accumulator<T>> (&sum)[Rows][Columns]) {
  using A = Accumulator<T>;
  // Copies: what is stored might be any member of `c`, for all the compiler knows.
  T* const out = c.out + place.first + to.channel;
  const T* const residual = c.residual ? c.residual + place.first + to.channel : nullptr;
  const Activation activation = c.activation;
  const std::int64_t row = place.row, column = place.column;
  const auto each = [&](const auto& body) {
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
      for (int k = 0; k < Columns; ++k) body(sum[r][k], r * row + k * column);
  };
  each([&](Vec<A>& value, std::int64_t) { value = fma(value, to.scale, to.shift); });
  if (residual) each([&](Vec<A>& value, std::int64_t at) { value += load_lanes<A, Whole>(residual + at, to.lanes); });
  if (activation == Activation::kRelu) {
    each([&](Vec<A>& value, std::int64_t) { value = activate<Activation::kRelu, RegisterArithmetic>(value); });
  } else if (activation > Activation::kRelu) {
    each([&](Vec<A>& value, std::int64_t) { value = activate_register<A>(activation, value); });
  }
  each([&](Vec<A>& value, std::int64_t at) { store_lanes<A, Whole>(out + at, value, to.lanes); });
}

template <class T, int Rows, int Columns>
SACCADE_HD void write_tile(const ConvLanes<T>& c, const LanesOut<T>& to, const LanesPlace& place,
                           Vec<Accumulator<T>> (&sum)[Rows][Columns]) {
  if (to.lanes == kLanes<Accumulator<T>>) return write_lanes<T, true>(c, to, place, sum);
  write_lanes<T, false>(c, to, place, sum);
}

// Cells of a register of channels each, `row` and `column` apart.
template <class S>
struct LanesCells {
  const S* first;
  std::int64_t row, column;

  LanesCells from(std::int64_t x) const { return {first + x * column, row, column}; }
};

// Columns of a tile of 3 x 3 kernels: nine weights and twice as many results as these stay in registers.
constexpr int kSquareColumns = SACCADE_VEC_BYTES == 64 ? 4 : 2;

// 3 x 3 neighbouring taps, Step apart from result to result.
template <class T, int Group, int Rows, int Columns, int Step, class S>
SACCADE_HD void tile_of_squares(const ConvLanes<T>& c, const LanesOut<T>& to, const LanesCells<S>& cells,
                                const Accumulator<T>* weights, const LanesPlace& place) {
  using V = Vec<Accumulator<T>>;
  constexpr int kN = kLanes<Accumulator<T>>;
  V sum[Rows][Columns];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int k = 0; k < Columns; ++k) sum[r][k] = V{};
#pragma GCC unroll 1
  for (int i = 0; i < Group; ++i) {
    V w[9];
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) w[t] = load<V>(weights + (t * Group + i) * kN);
#pragma GCC unroll 8
    for (int y = 0; y < (Rows - 1) * Step + 3; ++y) {
#pragma GCC unroll 16
      for (int x = 0; x < (Columns - 1) * Step + 3; ++x) {
        const V cell =
            pinned(spread<Group>(load_as<Accumulator<T>, kN>(cells.first + y * cells.row + x * cells.column), i));
#pragma GCC unroll 8
        for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
          for (int k = 0; k < Columns; ++k) {
            const int j = y - r * Step, l = x - k * Step;
            if (j >= 0 && j < 3 && l >= 0 && l < 3) sum[r][k] = fma(cell, w[j * 3 + l], sum[r][k]);
          }
      }
    }
  }
  write_tile<T>(c, to, place, sum);
}

}  // namespace saccade::SACCADE_ISA
