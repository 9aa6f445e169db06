// The product of a tile: six rows by four registers of columns (two without AVX-512, which has half as many), every sum
// in a register over the whole depth. A step loads a row of the panel and broadcasts one cell of each row of the tile:
// 24 multiply-adds for ten loads, and 256 bytes of the panel, which L2 supplies. Panels are blocked by the caller so
// that one stays in L2 over many tiles. Cells and outputs of large maps come from memory, which the processor does not
// foresee (a tile reads six rows and writes short pieces of six others): they are asked for a tile ahead. Measured on a
// Zen 5, 1x1, GFLOP/s without and with: 256 -> 64 at 200x200 157 and 230, 64 -> 256 with a residual 160 and 195, of
// 260. For the cells of Winograd's products, which the last-level cache holds, times went from 6 % down to 8 % up;
// asking for the following panel's weights, a little at every step, slowed ResNet-50 by 5 to 10 %: both left out.
//
// Product says what a step is: E, the type of the rows' elements; kWidth, how many of them it takes; cell(p), those at
// p in every lane; multiply_add(a, b, sum); and where kWidth is 2, last_cell(p), the one at p and a zero.
#pragma once

#include "isa/exp.h"
#include "kernels/conv_gemm.h"
#include "kernels/streams.h"

namespace saccade::SACCADE_ISA {
namespace {

constexpr int kRegisters = SACCADE_VEC_BYTES == 64 ? 4 : 2;
template <class A>
constexpr std::int64_t kColumns = kRegisters * kLanes<A>;

template <bool Whole, int Rows, class T>
SACCADE_HD void write_column(const ConvFinish<T>& f, const Vec<Accumulator<T>>* sum, std::int64_t step, std::int64_t j,
                             std::int64_t lanes) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  const V scale = load_lanes<A, Whole>(f.scale + j, lanes), shift = load_lanes<A, Whole>(f.shift + j, lanes);
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    V value = fma(sum[r * step], scale, shift);
    if (f.residual) value += load_lanes<A, Whole>(f.residual[r] + j, lanes);
    if (f.activation == Activation::kRelu) value = activate<Activation::kRelu, RegisterArithmetic>(value);
    store_lanes<A, Whole>(f.out[r] + j, value, lanes);
  }
}

template <class T, int Rows, int Registers>
SACCADE_HD void write_tile(const ConvFinish<T>& f, Vec<Accumulator<T>> (&sum)[Rows][Registers]) {
  constexpr int kN = kLanes<Accumulator<T>>;
#pragma GCC unroll 4
  for (int v = 0; v < Registers; ++v) {
    const std::int64_t lanes = f.columns - v * kN;
    if (lanes >= kN) {
      write_column<true, Rows>(f, &sum[0][v], Registers, v * kN, kN);
    } else {
      write_column<false, Rows>(f, &sum[0][v], Registers, v * kN, lanes);
    }
  }
}

template <class Product, bool Last, int Rows, int Registers, class V = Vec<Accumulator<typename Product::E>>>
SACCADE_HD void add_step(const typename Product::E* const (&rows)[Rows], std::int64_t at, const Element<V>* panel,
                         V (&sum)[Rows][Registers]) {
  V b[Registers];
#pragma GCC unroll 4
  for (int v = 0; v < Registers; ++v) b[v] = load<V>(panel + v * kLanesOf<V>);
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    V a;
    if constexpr (Last) {
      a = Product::last_cell(rows[r] + at);
    } else {
      a = Product::cell(rows[r] + at);
    }
#pragma GCC unroll 4
    for (int v = 0; v < Registers; ++v) sum[r][v] = Product::multiply_add(a, b[v], sum[r][v]);
  }
}

// Memory is slower than a tile's products: what they will be written to is asked for beforehand.
template <class E, int Rows, int Registers>
SACCADE_HD void fetch_outputs(const ConvFinish<E>& f) {
  constexpr std::int64_t kLine = 64 / sizeof(E), kColumnsHere = Registers * kLanes<Accumulator<E>>;
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    for (std::int64_t j = 0; j < kColumnsHere; j += kLine) {
      __builtin_prefetch(f.out[r] + j, 1);
      if (f.residual && f.residual[r] != f.out[r]) __builtin_prefetch(f.residual[r] + j);
    }
  }
}

template <class Product, int Rows, int Registers, bool Strided>
void multiply_tile(const ConvTile<typename Product::E>& tile) {
  using E = typename Product::E;
  using A = Accumulator<E>;
  using V = Vec<A>;
  constexpr int kN = kLanes<A>;
  V sum[Rows][Registers];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Registers; ++v)
      sum[r][v] = tile.accumulate ? load<V>(tile.sums + r * tile.pitch + v * kN) : V{};
  if (tile.finish != nullptr && tile.finish->far) fetch_outputs<E, Rows, Registers>(*tile.finish);
  const A* panel = tile.panel;
  const std::int64_t pitch = tile.panel_step, step = Strided ? tile.step : 1;
  for (std::int64_t t = 0; t < tile.taps; ++t) {
    const E* rows[Rows];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
      rows[r] = tile.offsets ? tile.rows[r] + tile.offsets[t] : tile.rows[t * tile.count + r];
    std::int64_t k = 0;
    if (!Strided && tile.ahead != 0) {
      constexpr std::int64_t kLine = 64 / sizeof(E);
      while (k + kLine <= tile.depth) {
#pragma GCC unroll 8
        for (int r = 0; r < Rows; ++r) __builtin_prefetch(rows[r] + k + tile.ahead);
        for (const std::int64_t end = k + kLine; k < end; k += Product::kWidth, panel += pitch)
          add_step<Product, false>(rows, k, panel, sum);
      }
    }
    for (; k + Product::kWidth <= tile.depth; k += Product::kWidth, panel += pitch)
      add_step<Product, false>(rows, k * step, panel, sum);
    if constexpr (Product::kWidth == 2)
      if (k < tile.depth) add_step<Product, true>(rows, k * step, panel, sum), panel += pitch;
  }
  if (tile.finish != nullptr) {
    const ConvFinish<E> finish = *tile.finish;  // a copy, which the outputs cannot alias
    return write_tile<E, Rows, Registers>(finish, sum);
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Registers; ++v) store(tile.sums + r * tile.pitch + v * kN, sum[r][v]);
}

template <class Product, int Registers, bool Strided>
void multiply_rows(const ConvTile<typename Product::E>& tile) {
  switch (tile.count) {
    case 1: return multiply_tile<Product, 1, Registers, Strided>(tile);
    case 2: return multiply_tile<Product, 2, Registers, Strided>(tile);
    case 3: return multiply_tile<Product, 3, Registers, Strided>(tile);
    case 4: return multiply_tile<Product, 4, Registers, Strided>(tile);
    case 5: return multiply_tile<Product, 5, Registers, Strided>(tile);
    default: return multiply_tile<Product, 6, Registers, Strided>(tile);
  }
}

template <class Product, bool Strided>
void multiply(const ConvTile<typename Product::E>& tile) {
  const std::int64_t registers = tile.pitch / kLanes<Accumulator<typename Product::E>>;
  if constexpr (kRegisters > 2) {
    if (registers == 4) return multiply_rows<Product, 4, Strided>(tile);
    if (registers == 3) return multiply_rows<Product, 3, Strided>(tile);
  }
  if (registers == 2) return multiply_rows<Product, 2, Strided>(tile);
  multiply_rows<Product, 1, Strided>(tile);
}

}  // namespace
}  // namespace saccade::SACCADE_ISA
