// exp of what is not positive: one text for the SIMD kernels (V a vector) and for CUDA (V a scalar).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "common/macros.h"
#include "math/box_iou.h"

namespace saccade {

// Integers as wide as V's elements.
template <class V>
auto integers_of() {
  if constexpr (std::is_arithmetic_v<V>) {
    return std::conditional_t<sizeof(V) == 4, std::int32_t, std::int64_t>{};
  } else {
    return V{} < V{};
  }
}
template <class V>
using IntegersOf = decltype(integers_of<V>());

template <class To, class From>
SACCADE_HD To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// The arithmetic of numbers; that of registers is the kernels' own (csrc/isa/exp.h).
struct ScalarArithmetic {
  template <class T>
  SACCADE_HD T fma(T a, T b, T c) {
    return std::fma(a, b, c);
  }
};

// exp(x) for x <= 0, within 2 ULP; 0 where the result would not be a normal number.
// x = n ln 2 + r with |r| <= ln 2 / 2: 2^n from the exponent bits, exp(r) from its Taylor series, whose first term left
// out is below a quarter of an ULP.
template <class Arithmetic, class V>
SACCADE_HD V exp_nonpositive(V x) {
  using T = ElementOf<V>;
  using I = IntegersOf<V>;
  constexpr bool kFloat = sizeof(T) == 4;
  constexpr T kInverseFactorial[] = {1,
                                     1,
                                     T(1.0 / 2),
                                     T(1.0 / 6),
                                     T(1.0 / 24),
                                     T(1.0 / 120),
                                     T(1.0 / 720),
                                     T(1.0 / 5040),
                                     T(1.0 / 40320),
                                     T(1.0 / 362880),
                                     T(1.0 / 3628800),
                                     T(1.0 / 39916800),
                                     T(1.0 / 479001600),
                                     T(1.0 / 6227020800)};
  constexpr int kTerms = kFloat ? 8 : 14;
  constexpr T kRound = kFloat ? T(12582912.0) : T(6755399441055744.0);  // 1.5 * 2^(mantissa bits): rounds to integers
  const V clamped = greater(x, constant<V>(kFloat ? T(-87) : T(-708)));
  const V shifted = clamped * T(1.4426950408889634) + kRound, n = shifted - kRound;
  // ln 2 in two parts, the first short enough for n times it to be exact.
  const V r = clamped - n * (kFloat ? T(0.693145751953125) : T(0.6931471803691238)) -
              n * (kFloat ? T(1.428606765330187e-06) : T(1.9082149292705877e-10));
  V sum = constant<V>(kInverseFactorial[kTerms - 1]);
  for (int k = kTerms - 2; k >= 0; --k) sum = Arithmetic::fma(sum, r, constant<V>(kInverseFactorial[k]));
  const I exponent = (same_bits<I>(shifted) - same_bits<I>(constant<V>(kRound))) << (kFloat ? 23 : 52);
  const V result = same_bits<V>(static_cast<I>(same_bits<I>(sum) + exponent));
  return x < clamped ? V{} : result;
}

}  // namespace saccade
