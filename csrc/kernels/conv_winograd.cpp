// The transforms of Winograd's convolution, lanes being channels: rows of cells first, into an array that stays in L1,
// then columns.
#include "kernels/conv_winograd.h"

#include "isa/exp.h"
#include "kernels/streams.h"
#include "math/winograd.h"

namespace saccade::SACCADE_ISA {
namespace {

template <int M, bool Whole>
SACCADE_HD void cells_at(const float* const* pixels, std::int64_t c, std::int64_t lanes, float* transformed,
                         std::int64_t step) {
  constexpr int kCells = Winograd<M>::kCells;
  using V = Vec<float>;
  V rows[kCells][kCells];
  for (int i = 0; i < kCells; ++i) {
    V d[kCells];
#pragma GCC unroll 8
    for (int j = 0; j < kCells; ++j) d[j] = load_lanes<float, Whole>(pixels[i * kCells + j] + c, lanes);
    Winograd<M>::cells(d, rows[i]);
  }
  for (int j = 0; j < kCells; ++j) {
    V d[kCells], v[kCells];
#pragma GCC unroll 8
    for (int i = 0; i < kCells; ++i) d[i] = rows[i][j];
    Winograd<M>::cells(d, v);
#pragma GCC unroll 8
    for (int i = 0; i < kCells; ++i) store_lanes<float, Whole>(transformed + (i * kCells + j) * step + c, v[i], lanes);
  }
}

template <int M>
void cells(const float* const* pixels, std::int64_t channels, float* transformed, std::int64_t step) {
  constexpr int kN = kLanes<float>;
  std::int64_t c = 0;
  for (; c + kN <= channels; c += kN) cells_at<M, true>(pixels, c, kN, transformed, step);
  if (c < channels) cells_at<M, false>(pixels, c, channels - c, transformed, step);
}

template <int M, Activation Kind, bool Whole>
SACCADE_HD void results_at(const WinogradResults& tile, std::int64_t k, std::int64_t lanes) {
  constexpr int kCells = Winograd<M>::kCells;
  using V = Vec<float>;
  const V scale = load_lanes<float, Whole>(tile.scale + k, lanes),
          shift = load_lanes<float, Whole>(tile.shift + k, lanes);
  V rows[M][kCells];
  for (int j = 0; j < kCells; ++j) {
    V m[kCells], y[M];
#pragma GCC unroll 8
    for (int i = 0; i < kCells; ++i) m[i] = load<V>(tile.products + (i * kCells + j) * tile.step + k);
    Winograd<M>::results(m, y);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) rows[i][j] = y[i];
  }
  for (int i = 0; i < M; ++i) {
    V y[M];
    Winograd<M>::results(rows[i], y);
#pragma GCC unroll 8
    for (int j = 0; j < M; ++j) {
      float* out = tile.out[i * M + j];
      if (out == nullptr) continue;
      V value = fma(y[j], scale, shift);
      if (tile.residual) value += load_lanes<float, Whole>(tile.residual[i * M + j] + k, lanes);
      store_lanes<float, Whole>(out + k, activate<Kind, RegisterArithmetic>(value), lanes);
    }
  }
}

template <int M>
void results(const WinogradResults& tile) {
  constexpr int kN = kLanes<float>;
  dispatch_activation(tile.activation, [&](auto kind) {
    std::int64_t k = 0;
    for (; k + kN <= tile.columns; k += kN) results_at<M, kind(), true>(tile, k, kN);
    if (k < tile.columns) results_at<M, kind(), false>(tile, k, tile.columns - k);
  });
}

}  // namespace

const WinogradKernels winograd_kernels = {{cells<2>, results<2>}, {cells<4>, results<4>}, {cells<6>, results<6>}};

}  // namespace saccade::SACCADE_ISA
