// The best split of weighted samples (Viola and Jones 2001, table 1; Friedman, Hastie and Tibshirani 2000), over
// features sorted beforehand or put into bins.
//
// Weights are integers, so sums are exact in any order: the result depends neither on threads nor on lanes. Worths are
// float32 and may be wrong in the last digits: csrc/ops/boosting.cpp looks at near ties again in float64.
// Sorted: lanes are features, one rank after the other; the weights (n x 4 bytes) stay in L1 and are gathered.
// Binned: four features at a time, so that four additions to memory are under way where samples share a bin; a bin
// holds both sums in 64 bits. Floor: a load of the bin, one of the weight (shared) and a read-modify-write per sample.
#include "kernels/boosting.h"

#include "isa/simd.h"

namespace saccade::SACCADE_ISA {
namespace {

template <class V>
SACCADE_HD V squared_worth(V left, V left_weight, V right, V right_weight) {
  // 0 / 0 where a side is empty: no comparison holds for it.
  return (left * left * right_weight + right * right * left_weight) / (left_weight * right_weight);
}

template <SplitCriterion kCriterion, class I>
SACCADE_HD void sorted_lanes(const I* order, const std::uint16_t* open, const std::int32_t* weights, std::int64_t n,
                             const Splits& out, int first) {
  constexpr int N = kLanes<std::int32_t>;
  using V = Vec<std::int32_t, N>;
  using F = Vec<float, N>;
  std::int32_t total = 0, mass = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    total += weights[i];
    mass += weights[i] < 0 ? -weights[i] : weights[i];
  }
  const V lane = splat<V>(1) << (iota<V>() + first);
  V left{}, left_mass{}, place = splat<V>(-1);
  F best = splat<F>(-1.0f);
  for (std::int64_t i = 0; i < n; ++i) {
    const V index = __builtin_convertvector(load<Vec<I, N>>(order + i * kSortedLanes + first), V);
    const V weight = gather<V>(weights, index);
    left += weight;
    F worth;
    if constexpr (kCriterion == SplitCriterion::kError) {
      const V difference = left - (total - left);
      worth = __builtin_convertvector(difference < 0 ? -difference : difference, F);
    } else {
      left_mass += weight < 0 ? -weight : weight;
      worth = squared_worth<F>(__builtin_convertvector(left, F), __builtin_convertvector(left_mass, F),
                               __builtin_convertvector(total - left, F), __builtin_convertvector(mass - left_mass, F));
    }
    worth = (splat<V>(open[i]) & lane) != 0 ? worth : splat<F>(-1.0f);
    place = worth > best ? splat<V>(static_cast<std::int32_t>(i)) : place;
    best = worth > best ? worth : best;
  }
  store<F>(out.worth + first, best);
  store<V>(out.place + first, place);
}

template <class I>
void sorted(SplitCriterion criterion, const I* order, const std::uint16_t* open, const std::int32_t* weights,
            std::int64_t n, const Splits& out) {
  for (int first = 0; first < kSortedLanes; first += kLanes<std::int32_t>)
    if (criterion == SplitCriterion::kError)
      sorted_lanes<SplitCriterion::kError>(order, open, weights, n, out, first);
    else
      sorted_lanes<SplitCriterion::kSquares>(order, open, weights, n, out, first);
}

// Turns the sums of bins into sums up to each bin, and finds the best of the splits behind bins 0 .. 254.
SACCADE_HD void best_bin(SplitCriterion criterion, std::int64_t* sums, float* worth, std::int32_t* place) {
  constexpr int N = kLanes<std::int64_t>;
  using V = Vec<std::int64_t, N>;
  using F = Vec<float, N>;
  for (int b = 1; b < kBins; ++b) sums[b] += sums[b - 1];
  const auto low = [](auto packed) { return packed << 32 >> 32; };
  const std::int64_t all = sums[kBins - 1], total = low(all), mass = (all - total) >> 32;
  F worths[kBins / N];
  for (int b = 0; b < kBins / N; ++b) {
    const V packed = load<V>(sums + b * N), left = low(packed), left_mass = (packed - left) >> 32;
    if (criterion == SplitCriterion::kError) {
      const V difference = left - (total - left);
      worths[b] = __builtin_convertvector(difference < 0 ? -difference : difference, F);
    } else {
      worths[b] =
          squared_worth<F>(__builtin_convertvector(left, F), __builtin_convertvector(left_mass, F),
                           __builtin_convertvector(total - left, F), __builtin_convertvector(mass - left_mass, F));
    }
  }
  *worth = -1.0f;
  *place = -1;
  for (int b = 0; b < kBins - 1; ++b)
    if (worths[b / N][b % N] > *worth) *worth = worths[b / N][b % N], *place = b;
}

template <int kRows, bool kAll>
SACCADE_HD void bin_rows(SplitCriterion criterion, const std::uint8_t* bins, std::int64_t stride,
                         const std::int32_t* chosen, const std::int64_t* weights, std::int64_t n, const Splits& out) {
  alignas(64) std::int64_t sums[kRows][kBins] = {};
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint8_t* at = bins + (kAll ? i : chosen[i]);
    for (int r = 0; r < kRows; ++r) sums[r][at[r * stride]] += weights[i];
  }
  for (int r = 0; r < kRows; ++r) best_bin(criterion, sums[r], out.worth + r, out.place + r);
}

template <bool kAll>
SACCADE_HD void bin_all(SplitCriterion criterion, const std::uint8_t* bins, std::int64_t stride,
                        const std::int32_t* chosen, const std::int64_t* weights, std::int64_t n, std::int64_t count,
                        const Splits& out) {
  constexpr int kRows = 4;
  std::int64_t f = 0;
  for (; f + kRows <= count; f += kRows)
    bin_rows<kRows, kAll>(criterion, bins + f * stride, stride, chosen, weights, n, {out.worth + f, out.place + f});
  for (; f < count; ++f)
    bin_rows<1, kAll>(criterion, bins + f * stride, stride, chosen, weights, n, {out.worth + f, out.place + f});
}

void binned(SplitCriterion criterion, const std::uint8_t* bins, std::int64_t stride, const std::int32_t* chosen,
            const std::int64_t* weights, std::int64_t n, std::int64_t count, const Splits& out) {
  if (chosen == nullptr)
    bin_all<true>(criterion, bins, stride, chosen, weights, n, count, out);
  else
    bin_all<false>(criterion, bins, stride, chosen, weights, n, count, out);
}

// Lanes are windows, so that a corner is a plain load and the weights are the same in all lanes.
template <int kCorners>
SACCADE_HD void haar_row(const HaarRows& run, std::int64_t f, float* out) {
  constexpr int N = kLanes<std::int32_t>;
  using V = Vec<std::int32_t, N>;
  using F = Vec<float, N>;
  const std::int32_t* rows[kCorners];
  for (int k = 0; k < kCorners; ++k) rows[k] = run.sums + run.offsets[k * run.stride + f] * run.windows;
  for (std::int64_t i = 0; i < run.windows; i += N) {
    V value{};
    for (int k = 0; k < kCorners; ++k) value += load<V>(rows[k] + i) * splat<V>(run.weights[k]);
    store<F>(out + i, __builtin_convertvector(value, F) * load<F>(run.scale + i));
  }
}

void haar_rows(const HaarRows& run, std::int64_t count, float* out, std::int64_t out_stride) {
  for (std::int64_t f = 0; f < count; ++f) switch (run.corners) {
      case 6: haar_row<6>(run, f, out + f * out_stride); break;
      case 8: haar_row<8>(run, f, out + f * out_stride); break;
      default: haar_row<9>(run, f, out + f * out_stride);
    }
}

}  // namespace

const BoostingKernels boosting_kernels = {sorted<std::uint16_t>, sorted<std::uint32_t>, binned, haar_rows};

}  // namespace saccade::SACCADE_ISA
