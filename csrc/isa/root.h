// Square roots of registers. For kernels only.
#pragma once

#include "isa/simd.h"

namespace saccade::SACCADE_ISA {

// The unmasked forms of AVX-512 read an undefined register in GCC 12's header, which warns.
template <class V>
SACCADE_HD V root(V v) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<V, Vec<float, 16>>) return (V)_mm512_maskz_sqrt_ps(0xffff, (__m512)v);
  if constexpr (std::is_same_v<V, Vec<double, 8>>) return (V)_mm512_maskz_sqrt_pd(0xff, (__m512d)v);
#endif
#if defined(__AVX2__)
  if constexpr (std::is_same_v<V, Vec<float, 8>>) return (V)_mm256_sqrt_ps((__m256)v);
  if constexpr (std::is_same_v<V, Vec<double, 4>>) return (V)_mm256_sqrt_pd((__m256d)v);
#endif
#if defined(__SSE2__)
  if constexpr (std::is_same_v<V, Vec<float, 4>>) return (V)_mm_sqrt_ps((__m128)v);
  if constexpr (std::is_same_v<V, Vec<double, 2>>) return (V)_mm_sqrt_pd((__m128d)v);
#endif
  V r;
  for (int i = 0; i < kLanesOf<V>; ++i) {
    if constexpr (sizeof(Element<V>) == 8)
      r[i] = __builtin_sqrt(v[i]);
    else
      r[i] = __builtin_sqrtf(v[i]);
  }
  return r;
}
// 1 / sqrt(v) of floats within 3e-7 of it, for normal v; a step of Newton's method on the processor's estimate is a
// third of the time of a root and a division. Processors of different makers may differ in the last bits.
template <class V>
SACCADE_HD V inverse_root(V v) {
  static_assert(std::is_same_v<Element<V>, float>);
#if defined(__AVX512F__)
  if constexpr (kLanesOf<V> == 16) {
    const V r = (V)_mm512_maskz_rsqrt14_ps(0xffff, (__m512)v);
    return r * fma<V>(v * r * -0.5f, r, splat<V>(1.5f));
  }
#endif
#if defined(__AVX2__)
  if constexpr (kLanesOf<V> == 8) {
    const V r = (V)_mm256_rsqrt_ps((__m256)v);
    return r * fma<V>(v * r * -0.5f, r, splat<V>(1.5f));
  }
#endif
  return 1.f / root(v);
}

}  // namespace saccade::SACCADE_ISA
