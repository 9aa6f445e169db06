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

// U = G g G^T. The lanes beyond `count` are never copied on.
template <int M>
void weights(const float* weights, std::int64_t step, const std::int64_t* taps, std::int64_t count,
             float* transformed) {
  using F = Winograd<M>;
  using V = Vec<double>;
  constexpr int kN = kLanes<double>;
  for (std::int64_t first = 0; first < count; first += kN) {
    double lanes[9][kN] = {};
    for (std::int64_t n = 0; n < kN && first + n < count; ++n)
      for (int t = 0; t < 9; ++t) lanes[t][n] = weights[(first + n) * step + taps[t]];
    V rows[3][F::kCells];
    for (int i = 0; i < 3; ++i) {
      const V g[3] = {load<V>(lanes[i * 3]), load<V>(lanes[i * 3 + 1]), load<V>(lanes[i * 3 + 2])};
      F::weights(g, rows[i]);
    }
    for (int j = 0; j < F::kCells; ++j) {
      const V g[3] = {rows[0][j], rows[1][j], rows[2][j]};
      V u[F::kCells];
      F::weights(g, u);
#pragma GCC unroll 8
      for (int i = 0; i < F::kCells; ++i)
        store_as<double, kN>(transformed + (i * F::kCells + j) * kWinogradLine + first, u[i]);
    }
  }
}

template <bool Whole>
SACCADE_HD void result_gradients_at(const float* const* pixels, std::int64_t c, std::int64_t lanes, float* transformed,
                                    std::int64_t step) {
  using F = Winograd<4>;
  using V = Vec<float>;
  V rows[4][F::kCells];
  for (int i = 0; i < 4; ++i) {
    V y[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) y[j] = load_lanes<float, Whole>(pixels[i * 4 + j] + c, lanes);
    F::result_gradients(y, rows[i]);
  }
  for (int j = 0; j < F::kCells; ++j) {
    const V y[4] = {rows[0][j], rows[1][j], rows[2][j], rows[3][j]};
    V v[F::kCells];
    F::result_gradients(y, v);
#pragma GCC unroll 6
    for (int i = 0; i < F::kCells; ++i)
      store_lanes<float, Whole>(transformed + (i * F::kCells + j) * step + c, v[i], lanes);
  }
}

void result_gradients(const float* const* pixels, std::int64_t channels, float* transformed, std::int64_t step) {
  constexpr int kN = kLanes<float>;
  std::int64_t c = 0;
  for (; c + kN <= channels; c += kN) result_gradients_at<true>(pixels, c, kN, transformed, step);
  if (c < channels) result_gradients_at<false>(pixels, c, channels - c, transformed, step);
}

// The planes hold whole registers.
void weight_gradients(const float* products, std::int64_t step, std::int64_t channels, std::int64_t c_step,
                      const std::int64_t* taps, float* gradient) {
  using F = Winograd<4>;
  using V = Vec<float>;
  constexpr int kN = kLanes<float>;
  for (std::int64_t c = 0; c < channels; c += kN) {
    V rows[3][F::kCells];
    for (int j = 0; j < F::kCells; ++j) {
      V u[F::kCells], g[3];
#pragma GCC unroll 6
      for (int i = 0; i < F::kCells; ++i) u[i] = load<V>(products + (i * F::kCells + j) * step + c);
      F::weight_gradients(u, g);
#pragma GCC unroll 3
      for (int i = 0; i < 3; ++i) rows[i][j] = g[i];
    }
    float lanes[9][kN];
    for (int i = 0; i < 3; ++i) {
      V g[3];
      F::weight_gradients(rows[i], g);
#pragma GCC unroll 3
      for (int j = 0; j < 3; ++j) store(lanes[i * 3 + j], g[j]);
    }
    const std::int64_t count = channels - c < kN ? channels - c : kN;
    if (c_step == 1) {
      for (int t = 0; t < 9; ++t) store_partial(gradient + taps[t] + c, load<V>(lanes[t]), count);
    } else {
      for (std::int64_t n = 0; n < count; ++n)
        for (int t = 0; t < 9; ++t) gradient[(c + n) * c_step + taps[t]] = lanes[t][n];
    }
  }
}

}  // namespace

const WinogradKernels winograd_kernels = {{cells<2>, results<2>, weights<2>},
                                          {cells<4>, results<4>, weights<4>},
                                          {cells<6>, results<6>, weights<6>},
                                          result_gradients,
                                          weight_gradients};

}  // namespace saccade::SACCADE_ISA
