// exp of registers. For kernels only.
#pragma once

#include "isa/simd.h"

namespace saccade::SACCADE_ISA {

// exp(x) for x <= 0, within 2 ULP; 0 where the result would not be a normal number.
// x = n ln 2 + r with |r| <= ln 2 / 2: 2^n from the exponent bits, exp(r) from its Taylor series, whose first term left
// out is below a quarter of an ULP.
template <class V>
SACCADE_HD V exp_nonpositive(V x) {
  using T = Element<V>;
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
  const V clamped = max(x, splat<V>(kFloat ? T(-87) : T(-708)));
  const V shifted = clamped * T(1.4426950408889634) + kRound, n = shifted - kRound;
  // ln 2 in two parts, the first short enough for n times it to be exact.
  const V r = clamped - n * (kFloat ? T(0.693145751953125) : T(0.6931471803691238)) -
              n * (kFloat ? T(1.428606765330187e-06) : T(1.9082149292705877e-10));
  V sum = splat<V>(kInverseFactorial[kTerms - 1]);
  for (int k = kTerms - 2; k >= 0; --k) sum = fma(sum, r, splat<V>(kInverseFactorial[k]));
  const auto exponent = ((Mask<V>)shifted - (Mask<V>)splat<V>(kRound)) << (kFloat ? 23 : 52);
  const V result = (V)((Mask<V>)sum + exponent);
  return x < clamped ? V{} : result;
}

}  // namespace saccade::SACCADE_ISA
