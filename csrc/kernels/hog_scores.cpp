// A convolution of block histograms with the classifier's coefficients, whose channels are the 36 values of a block.
// A tile is eight rows of windows by two registers of columns: a loaded register of blocks is multiplied with the
// coefficients of eight rows.
#include "kernels/hog_scores.h"

#include "isa/simd.h"

namespace saccade::SACCADE_ISA {
namespace {

using F = Vec<float>;
constexpr int kN = kLanes<float>;
// Without AVX-512 there are half as many registers: four rows of two.
constexpr int kTileRows = SACCADE_VEC_BYTES == 64 ? 8 : 4;

template <int Registers>
SACCADE_HD void add_tile(const HogScores& s, int row, std::int64_t lane) {
  F sum[kTileRows][Registers] = {};
  const float* c = s.coefficients + row;
  for (int column = 0; column < s.columns; ++column) {
    const float* block = s.planes + lane + column * s.step;
    for (int k = 0; k < s.values; ++k, block += s.plane, c += kHogScoreRows) {
      F value[Registers];
#pragma GCC unroll 2
      for (int i = 0; i < Registers; ++i) value[i] = pinned(load<F>(block + i * kN));
#pragma GCC unroll 8
      for (int r = 0; r < kTileRows; ++r) {
        const F weight = splat<F>(c[r]);
#pragma GCC unroll 2
        for (int i = 0; i < Registers; ++i) sum[r][i] = fma(value[i], weight, sum[r][i]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kTileRows; ++r)
#pragma GCC unroll 2
    for (int i = 0; i < Registers; ++i) {
      float* to = s.scores[row + r] + lane + i * kN;
      store<F>(to, load<F>(to) + sum[r][i]);
    }
}

void add(const HogScores& s) {
  for (int row = 0; row < kHogScoreRows; row += kTileRows) {
    std::int64_t lane = 0;
    for (; lane + kN < s.lanes; lane += 2 * kN) add_tile<2>(s, row, lane);
    if (lane < s.lanes) add_tile<1>(s, row, lane);
  }
}

}  // namespace

const HogScoreKernels hog_score_kernels = {add};

}  // namespace saccade::SACCADE_ISA
