// A tile: up to six output channels by four registers of neighbouring cells (two without AVX-512), every sum in a
// register over all channels and taps. The taps of a channel are shifted loads of lines that L1 holds by then, so a
// step costs what it does in conv_gemm.cpp: 24 multiply-adds, four loads (two lines each), six broadcasts.
#include "kernels/conv_planes.h"

#include "kernels/activate.h"
#include "kernels/streams.h"

namespace saccade::SACCADE_ISA {
namespace {

constexpr int kRegisters = SACCADE_VEC_BYTES == 64 ? 4 : 2;

template <class A, bool Whole>
SACCADE_HD void write_lanes(const ConvFinish<A>& f, int r, std::int64_t at, std::int64_t lanes, Vec<A> sum) {
  Vec<A> value = fma(sum, splat<Vec<A>>(f.scale[r]), splat<Vec<A>>(f.shift[r]));
  if (f.residual) value += load_lanes<A, Whole>(f.residual[r] + at, lanes);
  if (f.activation == Activation::kRelu) value = activate<Activation::kRelu, RegisterArithmetic>(value);
  store_lanes<A, Whole>(f.out[r] + at, value, lanes);
}

template <class A, int Rows, int Registers>
SACCADE_HD void write_tile(const ConvFinish<A>& f, const Vec<A> (&sum)[Rows][Registers]) {
  constexpr int kN = kLanes<A>;
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Registers; ++v) {
      const std::int64_t lanes = f.columns - v * kN;
      if (lanes >= kN) {
        write_lanes<A, true>(f, r, v * kN, kN, sum[r][v]);
      } else {
        write_lanes<A, false>(f, r, v * kN, lanes, sum[r][v]);
      }
    }
}

template <class A, int Rows, int Registers>
void multiply_tile(const ConvPlanesTile<A>& tile) {
  constexpr int kN = kLanes<A>;
  using V = Vec<A>;
  V sum[Rows][Registers] = {};
  std::int64_t columns[Registers];
#pragma GCC unroll 4
  for (int v = 0; v < Registers; ++v) columns[v] = tile.columns[v];
  const std::int64_t depth = tile.channels * tile.taps;
  const A *weights = tile.weights, *cells = tile.cells;
  for (std::int64_t c = 0; c < tile.channels; ++c, cells += tile.plane) {
    for (std::int64_t t = 0; t < tile.taps; ++t, ++weights) {
      const A* from = cells + tile.offsets[t];
      V b[Registers];
#pragma GCC unroll 4
      for (int v = 0; v < Registers; ++v) b[v] = load<V>(from + columns[v]);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const V a = splat<V>(weights[r * depth]);
#pragma GCC unroll 4
        for (int v = 0; v < Registers; ++v) sum[r][v] = fma(a, b[v], sum[r][v]);
      }
    }
  }
  if (tile.finish != nullptr) {
    const ConvFinish<A> finish = *tile.finish;  // a copy, which the outputs cannot alias
    return write_tile<A, Rows, Registers>(finish, sum);
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Registers; ++v) store(tile.sums + r * tile.pitch + v * kN, sum[r][v]);
}

template <class A, int Registers>
void multiply_rows(const ConvPlanesTile<A>& tile) {
  switch (tile.count) {
    case 1: return multiply_tile<A, 1, Registers>(tile);
    case 2: return multiply_tile<A, 2, Registers>(tile);
    case 3: return multiply_tile<A, 3, Registers>(tile);
    case 4: return multiply_tile<A, 4, Registers>(tile);
    case 5: return multiply_tile<A, 5, Registers>(tile);
    default: return multiply_tile<A, 6, Registers>(tile);
  }
}

template <class A>
void multiply(const ConvPlanesTile<A>& tile) {
  if constexpr (kRegisters > 2) {
    if (tile.registers == 4) return multiply_rows<A, 4>(tile);
    if (tile.registers == 3) return multiply_rows<A, 3>(tile);
  }
  if (tile.registers == 2) return multiply_rows<A, 2>(tile);
  multiply_rows<A, 1>(tile);
}

template <class T>
SACCADE_HD void write_register(const ConvPlanesChannel<T>& c, std::int64_t i, Vec<Accumulator<T>> sum) {
  using A = Accumulator<T>;
  const std::int64_t place = c.places[i], lanes = c.lengths[i];
  Vec<A> value = fma(sum, splat<Vec<A>>(c.scale), splat<Vec<A>>(c.shift));
  if (c.residual) value += load_lanes<A, false>(c.residual + place, lanes);
  if (c.activation == Activation::kRelu) value = activate<Activation::kRelu, RegisterArithmetic>(value);
  if (c.activation > Activation::kRelu) value = activate_register<A>(c.activation, value);
  store_lanes<A, false>(c.out + place, value, lanes);
}

template <class T, int Registers>
SACCADE_HD void channel_at(const ConvPlanesChannel<T>& c, std::int64_t first) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  V sum[Registers] = {};
  std::int64_t columns[Registers];
#pragma GCC unroll 4
  for (int v = 0; v < Registers; ++v) columns[v] = c.columns[first + v];
  const A *weight = c.weights, *cells = c.cells;
  for (std::int64_t i = 0; i < c.channels; ++i, cells += c.plane) {
    for (std::int64_t t = 0; t < c.taps; ++t, ++weight) {
      const A* from = cells + c.offsets[t];
      const V w = splat<V>(*weight);
#pragma GCC unroll 4
      for (int v = 0; v < Registers; ++v) sum[v] = fma(load<V>(from + columns[v]), w, sum[v]);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < Registers; ++v) write_register(c, first + v, sum[v]);
}

// Registers first, first + per_row, ... of as many rows: a row of cells is loaded once for the three that it serves.
template <class T, int Rows>
SACCADE_HD void square_at(const ConvPlanesChannel<T>& c, const Vec<Accumulator<T>>* weight, std::int64_t first) {
  using V = Vec<Accumulator<T>>;
  const Accumulator<T>* from = c.cells + c.offsets[0] + c.columns[first];
  V sum[Rows];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) sum[r] = V{};
#pragma GCC unroll 8
  for (int y = 0; y < Rows + 2; ++y) {
#pragma GCC unroll 3
    for (int x = 0; x < 3; ++x) {
      const V cells = pinned(load<V>(from + y * c.square + x));
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r)
        if (y - r >= 0 && y - r < 3) sum[r] = fma(cells, weight[(y - r) * 3 + x], sum[r]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) write_register(c, first + r * c.per_row, sum[r]);
}

template <class T>
SACCADE_HD void square(const ConvPlanesChannel<T>& c) {
  Vec<Accumulator<T>> weight[9];
#pragma GCC unroll 9
  for (int t = 0; t < 9; ++t) weight[t] = splat<Vec<Accumulator<T>>>(c.weights[t]);
  std::int64_t i = 0;
  for (; i + 4 * c.per_row <= c.registers; i += 4 * c.per_row)
    for (std::int64_t k = 0; k < c.per_row; ++k) square_at<T, 4>(c, weight, i + k);
  for (; i < c.registers; ++i) square_at<T, 1>(c, weight, i);
}

template <class T>
void channel(const ConvPlanesChannel<T>& given) {
  const ConvPlanesChannel<T> c = given;  // which the outputs cannot alias
  if (c.square != 0) return square(c);
  std::int64_t i = 0;
  for (; i + 4 <= c.registers; i += 4) channel_at<T, 4>(c, i);
  for (; i < c.registers; ++i) channel_at<T, 1>(c, i);
}

// A tile of dot products, every one in a register: 24 multiply-adds for ten loads.
template <class A, int Outs, int Pairs>
SACCADE_HD void dots_at(const ConvPlanesDots<A>& d, std::int64_t n, std::int64_t j) {
  constexpr int kN = kLanes<A>;
  using V = Vec<A>;
  V sum[Outs][Pairs];
#pragma GCC unroll 4
  for (int r = 0; r < Outs; ++r)
#pragma GCC unroll 9
    for (int k = 0; k < Pairs; ++k) sum[r][k] = V{};
  for (std::int64_t image = 0; image < d.images; ++image) {
    const A* grads = d.grads + image * d.image_grads + n * d.grads_step;
    const A* cells[Pairs];
#pragma GCC unroll 9
    for (int k = 0; k < Pairs; ++k) cells[k] = d.cells + image * d.image_cells + d.places[j + k];
    for (std::int64_t i = 0; i < d.length; i += kN) {
      V g[Outs];
#pragma GCC unroll 4
      for (int r = 0; r < Outs; ++r) g[r] = load<V>(grads + r * d.grads_step + i);
#pragma GCC unroll 9
      for (int k = 0; k < Pairs; ++k) {
        const V cell = load<V>(cells[k] + i);
#pragma GCC unroll 4
        for (int r = 0; r < Outs; ++r) sum[r][k] = fma(g[r], cell, sum[r][k]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < Outs; ++r)
#pragma GCC unroll 9
    for (int k = 0; k < Pairs; ++k) d.sums[(n + r) * d.pitch + j + k] += reduce_add(sum[r][k]);
}

template <class A, int Outs>
SACCADE_HD void dots_of(const ConvPlanesDots<A>& d, std::int64_t n) {
  constexpr int kMost = Outs == 1 ? 9 : SACCADE_VEC_BYTES == 64 ? 6 : 3;
  std::int64_t j = 0;
  for (; j + kMost <= d.pairs; j += kMost) dots_at<A, Outs, kMost>(d, n, j);
  for (; j + 3 <= d.pairs; j += 3) dots_at<A, Outs, 3>(d, n, j);
  for (; j < d.pairs; ++j) dots_at<A, Outs, 1>(d, n, j);
}

template <class A>
void dots(const ConvPlanesDots<A>& d) {
  std::int64_t n = 0;
  for (; n + 4 <= d.count; n += 4) dots_of<A, 4>(d, n);
  for (; n < d.count; ++n) dots_of<A, 1>(d, n);
}

template <class A>
SACCADE_HD void zero(A* to, std::int64_t count) {
  constexpr int kN = kLanes<A>;
  std::int64_t i = 0;
  for (; i + kN <= count; i += kN) store(to + i, Vec<A>{});
  if (i < count) store_partial(to + i, Vec<A>{}, count - i);
}

template <class T>
void copy(const T* plane, const PlanePart& part, Accumulator<T>* to) {
  // Columns [begin, end) lie inside the plane.
  const std::int64_t step = part.step_x, room = part.source_w - part.first_x;
  if (step == 1 && part.step_y == 1 && part.first_x == 0 && part.columns == part.source_w && part.first_y >= 0 &&
      part.first_y + part.rows <= part.source_h)
    return copy_run(plane + part.first_y * part.source_w, 1, part.rows * part.columns, to);
  std::int64_t begin = part.first_x < 0 ? (-part.first_x + step - 1) / step : 0;
  std::int64_t end = room <= 0 ? 0 : (room + step - 1) / step;
  if (end > part.columns) end = part.columns;
  if (begin > end) begin = end;
  for (std::int64_t r = 0; r < part.rows; ++r, to += part.columns) {
    const std::int64_t y = part.first_y + r * part.step_y;
    if (y < 0 || y >= part.source_h || begin == end) {
      zero(to, part.columns);
      continue;
    }
    zero(to, begin);
    copy_run(plane + y * part.source_w + part.first_x + begin * step, step, end - begin, to + begin);
    zero(to + end, part.columns - end);
  }
}

template <class T, class A = Accumulator<T>>
constexpr ConvPlanesFunctions<T> functions() {
  return {multiply<A>, channel<T>, dots<A>, copy<T>, kRegisters, kLanes<A>};
}

}  // namespace

const ConvPlanesKernels conv_planes_kernels = {functions<Float16>(), functions<BFloat16>(), functions<float>(),
                                               functions<double>()};

}  // namespace saccade::SACCADE_ISA
