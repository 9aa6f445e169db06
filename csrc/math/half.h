// float16 and bfloat16 <-> float, one element at a time, rounding to nearest even (IEEE 754-2019, 4.3.1).
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "common/dtype.h"
#include "common/macros.h"

namespace saccade {

SACCADE_HD float bits_to_float(std::uint32_t bits) {
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}
SACCADE_HD std::uint32_t float_to_bits(float f) {
  std::uint32_t bits;
  std::memcpy(&bits, &f, sizeof bits);
  return bits;
}

SACCADE_HD float to_float(float x) { return x; }
SACCADE_HD double to_float(double x) { return x; }
SACCADE_HD float to_float(BFloat16 x) { return bits_to_float(static_cast<std::uint32_t>(x.bits) << 16); }
SACCADE_HD float to_float(Float16 x) {
#if defined(__CUDA_ARCH__)
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(x.bits));
  return f;
#else
  const std::uint32_t sign = static_cast<std::uint32_t>(x.bits & 0x8000u) << 16;
  const std::uint32_t rest = x.bits & 0x7fffu;
  if (rest >= 0x7c00u) return bits_to_float(sign | 0x7f800000u | ((rest & 0x3ffu) << 13));  // infinity, NaN
  if (rest >= 0x400u) return bits_to_float(sign | ((rest << 13) + 0x38000000u));
  const float subnormal = static_cast<float>(rest) * 5.9604644775390625e-8f;  // 2^-24
  return bits_to_float(sign | float_to_bits(subnormal));
#endif
}

SACCADE_HD BFloat16 to_bfloat16(float x) {
  const std::uint32_t bits = float_to_bits(x);
  if (x != x) return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
SACCADE_HD Float16 to_float16(float x) {
#if defined(__CUDA_ARCH__)
  Float16 half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half.bits) : "f"(x));
  return half;
#else
  const std::uint32_t bits = float_to_bits(x);
  const std::uint16_t sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t rest = bits & 0x7fffffffu;
  if (rest > 0x7f800000u) return {static_cast<std::uint16_t>(sign | 0x7e00u | ((rest >> 13) & 0x3ffu))};
  if (rest >= 0x477ff000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};  // rounds to infinity
  if (rest >= 0x38800000u) {
    const std::uint32_t rounded = rest + 0xfffu + ((rest >> 13) & 1u);
    return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
  }
  // Subnormal: adding 0.5 leaves the value, rounded to a multiple of 2^-24, in the low bits.
  const std::uint32_t shifted = float_to_bits(bits_to_float(rest) + 0.5f) - 0x3f000000u;
  return {static_cast<std::uint16_t>(sign | shifted)};
#endif
}

// An accumulator (float, or double for double) as an element of storage type T.
template <class T, class A>
SACCADE_HD T from_float(A x) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return to_bfloat16(x);
  } else if constexpr (std::is_same_v<T, Float16>) {
    return to_float16(x);
  } else {
    return static_cast<T>(x);
  }
}

}  // namespace saccade
