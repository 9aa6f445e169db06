// Weighted sums of contiguous arrays, which is all that separable pooling does once channels are innermost.
#pragma once

#include <cstdint>

#include "isa/simd.h"

namespace saccade::SACCADE_ISA {

// Up to `n` elements as accumulators; Whole promises a full register.
template <class A, bool Whole, class T>
SACCADE_HD Vec<A> load_lanes(const T* p, std::int64_t n) {
  if constexpr (Whole) return load_as<A, kLanes<A>>(p);
  if constexpr (std::is_same_v<A, T>) return load_partial<Vec<A>>(p, n);
  A lanes[kLanes<A>] = {};
  for (std::int64_t i = 0; i < n; ++i) lanes[i] = to_float(p[i]);
  return load<Vec<A>>(lanes);
}
template <class A, bool Whole, class T>
SACCADE_HD void store_lanes(T* p, Vec<A> v, std::int64_t n) {
  if constexpr (Whole) return store_as<A, kLanes<A>>(p, v);
  if constexpr (std::is_same_v<A, T>) return store_partial(p, v, n);
  A lanes[kLanes<A>];
  store(lanes, v);
  for (std::int64_t i = 0; i < n; ++i) p[i] = from_float<T>(lanes[i]);
}

// Elements that lie `step` apart.
template <class T>
SACCADE_HD void copy_run(const T* source, std::int64_t step, std::int64_t count, Accumulator<T>* to) {
  using A = Accumulator<T>;
  constexpr int kN = kLanes<A>;
  std::int64_t i = 0;
  if (step == 1) {
    for (; i + kN <= count; i += kN) store(to + i, load_as<A, kN>(source + i));
    if (i < count) store_partial(to + i, load_lanes<A, false>(source + i, count - i), count - i);
    return;
  }
  if (step == 2) {
    for (; i + kN < count; i += kN)  // the second register reads one element past the last it needs
      store(to + i, every_second<0>(load_as<A, kN>(source + 2 * i), load_as<A, kN>(source + 2 * i + kN)));
    if (i == count) return;
    const std::int64_t left = 2 * (count - i) - 1, second = left > kN ? left - kN : 0;
    const auto v = every_second<0>(load_lanes<A, false>(source + 2 * i, left - second),
                                   load_lanes<A, false>(source + 2 * i + left - second, second));
    return store_partial(to + i, v, count - i);
  }
  for (; i < count; ++i) to[i] = to_float(source[i * step]);
}

// Calls body(first channel, registers, whole, lanes): Most registers at a time, four, one, then what is left.
template <class A, int Most = 4, class Body>
SACCADE_HD void each_channel_group(std::int64_t channels, const Body& body) {
  constexpr int kN = kLanes<A>;
  std::int64_t c = 0;
  if constexpr (Most > 4)
    for (; c + Most * kN <= channels; c += Most * kN)
      body(c, std::integral_constant<int, Most>{}, std::true_type{}, kN);
  for (; c + 4 * kN <= channels; c += 4 * kN) body(c, std::integral_constant<int, 4>{}, std::true_type{}, kN);
  for (; c + kN <= channels; c += kN) body(c, std::integral_constant<int, 1>{}, std::true_type{}, kN);
  if (c < channels) body(c, std::integral_constant<int, 1>{}, std::false_type{}, channels - c);
}

// out[j .. j + Registers * lanes) = sum over k < Count of weight[k] * source[k][j ..].
template <class A, int Count, int Registers, bool Whole, class S, class D>
SACCADE_HD void weighted_sum_at(std::int64_t j, std::int64_t lanes, const S* const* source, const Vec<A>* weight,
                                D* out) {
  constexpr int kN = kLanes<A>;
  Vec<A> sum[Registers] = {};
#pragma GCC unroll 8
  for (int k = 0; k < Count; ++k)
    for (int r = 0; r < Registers; ++r)
      sum[r] = fma(weight[k], load_lanes<A, Whole>(source[k] + j + r * kN, lanes), sum[r]);
  for (int r = 0; r < Registers; ++r) store_lanes<A, Whole>(out + j + r * kN, sum[r], lanes);
}

// The same for all j < n; the weights stay in registers.
template <class A, int Count, class S, class D>
void weighted_sum(const S* const* sources, const A* weights, std::int64_t n, D* out) {
  constexpr int kN = kLanes<A>;
  const S* source[Count];
  Vec<A> weight[Count];
  for (int k = 0; k < Count; ++k) source[k] = sources[k], weight[k] = splat<Vec<A>>(weights[k]);
  std::int64_t j = 0;
  for (; j + 4 * kN <= n; j += 4 * kN) weighted_sum_at<A, Count, 4, true>(j, kN, source, weight, out);
  for (; j + kN <= n; j += kN) weighted_sum_at<A, Count, 1, true>(j, kN, source, weight, out);
  if (j < n) weighted_sum_at<A, Count, 1, false>(j, n - j, source, weight, out);
}

// out[j] += weight * source[j], j < n.
template <class A, class S>
SACCADE_HD void add_scaled(A weight, const S* source, std::int64_t n, A* out) {
  constexpr int kN = kLanes<A>;
  const Vec<A> w = splat<Vec<A>>(weight);
  std::int64_t j = 0;
  for (; j + 4 * kN <= n; j += 4 * kN)
    for (int r = 0; r < 4 * kN; r += kN)
      store(out + j + r, fma(w, load_as<A, kN>(source + j + r), load<Vec<A>>(out + j + r)));
  for (; j + kN <= n; j += kN) store(out + j, fma(w, load_as<A, kN>(source + j), load<Vec<A>>(out + j)));
  if (j < n)
    store_partial(out + j, fma(w, load_lanes<A, false>(source + j, n - j), load_partial<Vec<A>>(out + j, n - j)),
                  n - j);
}

}  // namespace saccade::SACCADE_ISA
