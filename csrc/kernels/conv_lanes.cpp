// Depthwise convolution, and groups of two, four, eight channels: a register holds whole groups, and input channel i of
// every group is one permutation of it away from all output channels that need it. Four or eight neighbouring results
// at a time, so that a weight is loaded once for as many multiply-adds; the borders, where a tap may be outside, one at
// a time. Floor for 3 x 3 depthwise: nine loads and nine multiply-adds for each register of results.
#include "kernels/conv_lanes.h"

#include "isa/exp.h"
#include "kernels/streams.h"

namespace saccade::SACCADE_ISA {
namespace {

// Results at a time: as many as keep their sums and cells in registers.
template <int Group>
constexpr int kResults = Group == 1 && SACCADE_VEC_BYTES == 64 ? 8 : 4;

// Lane l becomes lane l / Group * Group + i.
template <int Group, class V>
SACCADE_HD V spread(V v, int i) {
  if constexpr (Group == 1) return v;
  Mask<V> index;
  for (int l = 0; l < kLanesOf<V>; ++l) index[l] = l / Group * Group;
  return __builtin_shuffle(v, index + i);
}

// Out of line: the activations that take a while are not worth a copy in every variant.
template <class A>
__attribute__((noinline)) void activate_registers(Activation activation, Vec<A>* values, int count) {
  dispatch_activation(activation, [&](auto kind) {
    for (int r = 0; r < count; ++r) values[r] = activate<kind(), RegisterArithmetic>(values[r]);
  });
}

template <class T, int Group, int Results, bool Whole, bool Inside>
SACCADE_HD void add_taps(const ConvLanes<T>& c, const RowTap* taps, std::int64_t count, std::int64_t q,
                         std::int64_t channel, std::int64_t lanes, Vec<Accumulator<T>>* sum) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  constexpr int kN = kLanes<A>;
  const std::int64_t step = c.grid->step_x * c.channels;
  const T* source = c.source + q * step + channel;
  const A* weights = c.weights + channel * Group * c.grid->taps;
  for (std::int64_t t = 0; t < count; ++t) {
    if constexpr (!Inside) {
      const std::int64_t x = q * c.grid->step_x + taps[t].x;
      if (x < 0 || x >= c.grid->source_w) continue;
    }
    const T* from = source + taps[t].cell;
    const A* weight = weights + taps[t].weight * Group * kN;
    V cells[Results];
#pragma GCC unroll 8
    for (int r = 0; r < Results; ++r) cells[r] = load_lanes<A, Whole>(from + r * step, lanes);
#pragma GCC unroll 8
    for (int i = 0; i < Group; ++i) {
      const V w = load<V>(weight + i * kN);
#pragma GCC unroll 8
      for (int r = 0; r < Results; ++r) sum[r] = fma(spread<Group>(cells[r], i), w, sum[r]);
    }
  }
}

template <class T, int Group, int Results, bool Whole, bool Inside>
SACCADE_HD void results_at(const ConvLanes<T>& c, const RowTap* taps, std::int64_t count,
                           const Vec<Accumulator<T>>* scale_shift, std::int64_t p, std::int64_t q, std::int64_t channel,
                           std::int64_t lanes) {
  using V = Vec<Accumulator<T>>;
  V sum[Results] = {};
  add_taps<T, Group, Results, Whole, Inside>(c, taps, count, q, channel, lanes, sum);
  const std::int64_t first = c.grid->place(p * c.grid->columns + q) * c.channels + channel;
  const std::int64_t step = c.grid->spread_x * c.channels;
#pragma GCC unroll 8
  for (int r = 0; r < Results; ++r) {
    sum[r] = fma(sum[r], scale_shift[0], scale_shift[1]);
    if (c.residual) sum[r] += load_lanes<Accumulator<T>, Whole>(c.residual + first + r * step, lanes);
    if (c.activation == Activation::kRelu) sum[r] = activate<Activation::kRelu, RegisterArithmetic>(sum[r]);
  }
  if (c.activation > Activation::kRelu) activate_registers<Accumulator<T>>(c.activation, sum, Results);
#pragma GCC unroll 8
  for (int r = 0; r < Results; ++r) store_lanes<Accumulator<T>, Whole>(c.out + first + r * step, sum[r], lanes);
}

struct Span {
  std::int64_t begin, end;
};
// The columns of the grid whose taps all lie inside the source.
SACCADE_HD Span inside_columns(const ConvGrid& grid) {
  Span span = {0, grid.columns};
  for (std::int64_t t = 0; t < grid.taps; ++t) {
    const std::int64_t tap = grid.tap_x[t], room = grid.source_w - tap;
    const std::int64_t begin = tap < 0 ? (-tap + grid.step_x - 1) / grid.step_x : 0;
    const std::int64_t end = room <= 0 ? 0 : (room + grid.step_x - 1) / grid.step_x;
    span.begin = begin > span.begin ? begin : span.begin;
    span.end = end < span.end ? end : span.end;
  }
  return span;
}

template <class T, int Group, bool Whole>
SACCADE_HD void row_at(const ConvLanes<T>& c, const RowTap* taps, std::int64_t count, std::int64_t p, Span inside,
                       std::int64_t channel, std::int64_t lanes) {
  using A = Accumulator<T>;
  constexpr int kMost = kResults<Group>;
  const Vec<A> scale_shift[2] = {load_lanes<A, Whole>(c.scale + channel, lanes),
                                 load_lanes<A, Whole>(c.shift + channel, lanes)};
  std::int64_t q = 0;
  for (; q < inside.begin && q < c.grid->columns; ++q)
    results_at<T, Group, 1, Whole, false>(c, taps, count, scale_shift, p, q, channel, lanes);
  for (; q + kMost <= inside.end; q += kMost)
    results_at<T, Group, kMost, Whole, true>(c, taps, count, scale_shift, p, q, channel, lanes);
  for (; q + 2 <= inside.end; q += 2)
    results_at<T, Group, 2, Whole, true>(c, taps, count, scale_shift, p, q, channel, lanes);
  for (; q < c.grid->columns; ++q)
    results_at<T, Group, 1, Whole, false>(c, taps, count, scale_shift, p, q, channel, lanes);
}

template <class T, int Group>
void row_of(const ConvLanes<T>& c, std::int64_t p, RowTap* taps) {
  constexpr int kN = kLanes<Accumulator<T>>;
  if constexpr (Group < kN) {
    const ConvGrid& grid = *c.grid;
    const Span inside = inside_columns(grid);
    std::int64_t count = 0;
    for (std::int64_t t = 0; t < grid.taps; ++t) {
      const std::int64_t y = p * grid.step_y + grid.tap_y[t];
      if (y < 0 || y >= grid.source_h) continue;
      taps[count++] = {(y * grid.source_w + grid.tap_x[t]) * c.channels, grid.tap_x[t], t};
    }
    std::int64_t channel = 0;
    for (; channel + kN <= c.channels; channel += kN) row_at<T, Group, true>(c, taps, count, p, inside, channel, kN);
    if (channel < c.channels) row_at<T, Group, false>(c, taps, count, p, inside, channel, c.channels - channel);
  }
}

template <class T>
void row(const ConvLanes<T>& c, std::int64_t p, RowTap* taps) {
  switch (c.group) {
    case 1: return row_of<T, 1>(c, p, taps);
    case 2: return row_of<T, 2>(c, p, taps);
    case 4: return row_of<T, 4>(c, p, taps);
    default: return row_of<T, 8>(c, p, taps);
  }
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
  return {row<T>, gradient<T>, kLanes<Accumulator<T>>};
}

}  // namespace

const ConvLanesKernels conv_lanes_kernels = {functions<Float16>(), functions<BFloat16>(), functions<float>(),
                                             functions<double>()};

}  // namespace saccade::SACCADE_ISA
