// The SIMD vocabulary of all kernels: compiler vector extensions, one spelling for every instruction set.
//
// Include it only from csrc/kernels/*.cpp, which are compiled once per instruction set with SACCADE_ISA set to the
// name of the namespace that holds everything (generic, avx2, ...) and SACCADE_VEC_BYTES to the register width.
// Everything here is static and always inlined: nothing wide can leak into another level's object.
//
//   Vec<float>            a full register; Vec<float, 8> any power-of-two number of lanes
//   kLanes<float>         lanes of a full register
//   a + b, a * b, a < b   element-wise; a comparison gives a mask (integers, all bits set where true)
//   select(m, a, b)       m ? a : b per lane
// No contraction: a * b + c rounds twice (the build uses -ffp-contract=off); write fma(a, b, c) to round once
// (generic code without an FMA unit rounds twice there too).
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "common/dtype.h"
#include "common/macros.h"
#include "math/half.h"

#if !defined(SACCADE_ISA) || !defined(SACCADE_VEC_BYTES)
#error "simd.h is for kernels: SACCADE_ISA and SACCADE_VEC_BYTES come from CMakeLists.txt"
#endif

namespace saccade::SACCADE_ISA {

template <class T>
constexpr int kLanes = SACCADE_VEC_BYTES / static_cast<int>(sizeof(T));

template <class T, int N>
struct VecOf {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
};
template <class T, int N = kLanes<T>>
using Vec = typename VecOf<T, N>::type;

template <class V>
using Element = std::remove_cv_t<std::remove_reference_t<decltype(std::declval<V>()[0])>>;
template <class V>
constexpr int kLanesOf = static_cast<int>(sizeof(V) / sizeof(Element<V>));

// Integers of the same width as V's elements: what a comparison of two V yields.
template <class V>
using Mask = decltype(std::declval<V>() < std::declval<V>());

template <class V>
SACCADE_HD V load(const Element<V>* p) {
  V v;
  std::memcpy(&v, p, sizeof(V));
  return v;
}
template <class V>
SACCADE_HD void store(Element<V>* p, V v) {
  std::memcpy(p, &v, sizeof(V));
}
template <class V>
SACCADE_HD V splat(Element<V> x) {
  return x - V{};  // x - 0 keeps x, -0 included (x + 0 would turn -0 into +0)
}
// Past the caches, to an address aligned to the register: for outputs larger than they are, whose lines would be read
// only to be overwritten. Call stream_fence() before another thread may read them.
template <class V>
SACCADE_HD void stream(Element<V>* p, V v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) return _mm512_stream_si512(reinterpret_cast<__m512i*>(p), (__m512i)v);
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(V) == 32) return _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)v);
#endif
#if defined(__SSE2__)
  if constexpr (sizeof(V) == 16) return _mm_stream_si128(reinterpret_cast<__m128i*>(p), (__m128i)v);
#endif
  store(p, v);
}
SACCADE_HD void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}
// 0, 1, 2, ...
template <class V>
SACCADE_HD V iota() {
  V v;
  for (int i = 0; i < kLanesOf<V>; ++i) v[i] = static_cast<Element<V>>(i);
  return v;
}

// The first n lanes; the others are zero and their memory is not touched.
template <class V>
SACCADE_HD V load_partial(const Element<V>* p, std::int64_t n) {
#if defined(__AVX512VL__)
  if constexpr (sizeof(V) == 64 && sizeof(Element<V>) == 4)
    return (V)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p);
  if constexpr (sizeof(V) == 64 && sizeof(Element<V>) == 8)
    return (V)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1u), p);
#endif
  V v{};
  std::memcpy(&v, p, static_cast<std::size_t>(n) * sizeof(Element<V>));
  return v;
}
template <class V>
SACCADE_HD void store_partial(Element<V>* p, V v, std::int64_t n) {
#if defined(__AVX512VL__)
  if constexpr (sizeof(V) == 64 && sizeof(Element<V>) == 4)
    return _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), (__m512)v);
  if constexpr (sizeof(V) == 64 && sizeof(Element<V>) == 8)
    return _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1u), (__m512d)v);
#endif
  std::memcpy(p, &v, static_cast<std::size_t>(n) * sizeof(Element<V>));
}

template <class V>
SACCADE_HD V select(Mask<V> mask, V a, V b) {
  return mask ? a : b;
}
// b where either is NaN, as x86's minps and maxps.
template <class V>
SACCADE_HD V min(V a, V b) {
  return a < b ? a : b;
}
template <class V>
SACCADE_HD V max(V a, V b) {
  return a > b ? a : b;
}

template <class V>
SACCADE_HD V fma(V a, V b, V c) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<V, Vec<float, 16>>) return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
  if constexpr (std::is_same_v<V, Vec<double, 8>>) return (V)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#endif
#if defined(__FMA__)
  if constexpr (std::is_same_v<V, Vec<float, 8>>) return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
  if constexpr (std::is_same_v<V, Vec<double, 4>>) return (V)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
  if constexpr (std::is_same_v<V, Vec<float, 4>>) return (V)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
  if constexpr (std::is_same_v<V, Vec<double, 2>>) return (V)_mm_fmadd_pd((__m128d)a, (__m128d)b, (__m128d)c);
#endif
  return a * b + c;
}

// Keeps a loaded value in its register: GCC 12 reads memory again for each multiply-add that uses it.
template <class V>
SACCADE_HD V pinned(V v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__SSE2__)
  if constexpr (sizeof(V) <= SACCADE_VEC_BYTES) asm("" : "+x"(v));
#endif
  return v;
}

// The elements First, First + 2, First + 4, ... of a followed by b.
template <int First, class V>
SACCADE_HD V every_second(V a, V b) {
  constexpr int kN = kLanesOf<V>;
  Mask<V> index;
  for (int i = 0; i < kN; ++i) index[i] = First + 2 * i;
  return __builtin_shuffle(a, b, index);
}
// a[0], b[0], a[1], b[1], ...: the first half (Half 0) or the second of it.
template <int Half, class V>
SACCADE_HD V interleave(V a, V b) {
  constexpr int kN = kLanesOf<V>;
  Mask<V> index;
  for (int i = 0; i < kN; ++i) index[i] = Half * kN / 2 + i / 2 + i % 2 * kN;
  return __builtin_shuffle(a, b, index);
}

// One bit per lane, lane 0 lowest.
template <class M>
SACCADE_HD std::uint64_t mask_bits(M mask) {
#if defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
  if constexpr (sizeof(M) == 64 && sizeof(Element<M>) == 4) return _mm512_movepi32_mask((__m512i)mask);
  if constexpr (sizeof(M) == 64 && sizeof(Element<M>) == 8) return _mm512_movepi64_mask((__m512i)mask);
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(M) == 32 && sizeof(Element<M>) == 4)
    return static_cast<unsigned>(_mm256_movemask_ps((__m256)mask));
  if constexpr (sizeof(M) == 32 && sizeof(Element<M>) == 8)
    return static_cast<unsigned>(_mm256_movemask_pd((__m256d)mask));
#endif
#if defined(__SSE2__)
  if constexpr (sizeof(M) == 16 && sizeof(Element<M>) == 4) return static_cast<unsigned>(_mm_movemask_ps((__m128)mask));
  if constexpr (sizeof(M) == 16 && sizeof(Element<M>) == 8)
    return static_cast<unsigned>(_mm_movemask_pd((__m128d)mask));
#endif
  std::uint64_t bits = 0;
  for (int i = 0; i < kLanesOf<M>; ++i) bits |= static_cast<std::uint64_t>(mask[i] != 0) << i;
  return bits;
}
// mask_bits(a > b): GCC 12 takes the detour over a vector of all-ones lanes on AVX-512, two more instructions in a row.
template <class V>
SACCADE_HD std::uint64_t greater_bits(V a, V b) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<V, Vec<float, 16>>) return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
  if constexpr (std::is_same_v<V, Vec<double, 8>>) return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_GT_OQ);
#endif
  return mask_bits(a > b);
}
template <class M>
SACCADE_HD bool any(M mask) {
  return mask_bits(mask) != 0;
}

// The lanes whose bit is set, moved together; what follows them is undefined.
template <class V>
SACCADE_HD V compress(std::uint64_t bits, V v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64 && sizeof(Element<V>) == 4)
    return (V)_mm512_maskz_compress_ps(static_cast<__mmask16>(bits), (__m512)v);
  if constexpr (sizeof(V) == 64 && sizeof(Element<V>) == 8)
    return (V)_mm512_maskz_compress_pd(static_cast<__mmask8>(bits), (__m512d)v);
#endif
  Element<V> lanes[kLanesOf<V>], kept[kLanesOf<V> + 1] = {};
  std::memcpy(lanes, &v, sizeof(V));
  for (int i = 0, k = 0; i < kLanesOf<V>; k += static_cast<int>(bits >> i & 1), ++i) kept[k] = lanes[i];
  return load<V>(kept);
}

// The elements Shift, Shift + 1, ... of v; what follows its last one is undefined.
template <int Shift, class V>
SACCADE_HD V shift_down(V v) {
  constexpr int kN = kLanesOf<V>;
  Mask<V> index;
  for (int i = 0; i < kN; ++i) index[i] = (i + Shift) % kN;
  return __builtin_shuffle(v, index);
}
// Sum of all lanes, in the order of a binary tree (the same on every level for equal lane counts).
template <int Lanes, class V>
SACCADE_HD V add_halves(V v) {
  if constexpr (Lanes == 1)
    return v;
  else
    return add_halves<Lanes / 2>(v + shift_down<Lanes / 2>(v));
}
template <class V>
SACCADE_HD Element<V> reduce_add(V v) {
  return add_halves<kLanesOf<V>>(v)[0];
}

// base[index[i]] for every lane. 32-bit indices with 4-byte elements use the gather instruction.
template <class V, class I>
SACCADE_HD V gather(const Element<V>* base, I index) {
  static_assert(kLanesOf<V> == kLanesOf<I>);
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64 && sizeof(Element<V>) == 4 && sizeof(Element<I>) == 4)
    // The unmasked form reads an undefined register in GCC 12's header, which warns.
    return (V)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), 0xffff, (__m512i)index, base, 4);
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(V) == 32 && sizeof(Element<V>) == 4 && sizeof(Element<I>) == 4)
    return (V)_mm256_i32gather_ps(reinterpret_cast<const float*>(base), (__m256i)index, 4);
#endif
  V v;
  for (int i = 0; i < kLanesOf<V>; ++i) v[i] = base[index[i]];
  return v;
}

// The type that a kernel computes in when its data are of type T: halves accumulate in float.
template <class T>
using Accumulator = std::conditional_t<std::is_same_v<T, double>, double, float>;
// Where a value of type A is, in lanes as wide as its own.
template <class A>
using Index = std::conditional_t<sizeof(A) == 8, std::int64_t, std::int32_t>;

// N elements of storage type S as Vec<A, N>, A being float or double.
template <class A, int N, class S>
SACCADE_HD Vec<A, N> load_as(const S* p) {
  if constexpr (std::is_same_v<A, S>) {
    return load<Vec<A, N>>(p);
  } else if constexpr (std::is_same_v<S, BFloat16>) {
    Vec<std::uint16_t, N> bits;
    std::memcpy(&bits, p, sizeof(bits));
    return (Vec<float, N>)(__builtin_convertvector(bits, Vec<std::uint32_t, N>) << 16);
  } else if constexpr (std::is_same_v<S, Float16>) {
#if defined(__AVX512F__)
    if constexpr (N == 16)
      return (Vec<float, N>)_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#endif
#if defined(__F16C__)
    if constexpr (N == 8) return (Vec<float, N>)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#endif
    Vec<float, N> v;
    for (int i = 0; i < N; ++i) v[i] = to_float(p[i]);
    return v;
  } else {
    Vec<S, N> v;
    std::memcpy(&v, p, sizeof(v));
    return __builtin_convertvector(v, Vec<A, N>);
  }
}

template <class A, int N, class S>
SACCADE_HD void store_as(S* p, Vec<A, N> v) {
  if constexpr (std::is_same_v<A, S>) {
    store<Vec<A, N>>(p, v);
  } else if constexpr (std::is_same_v<S, BFloat16>) {
    // Round to nearest even; NaN stays a quiet NaN.
#if defined(__AVX512BF16__)
    if constexpr (N == 16) {  // subnormal results become zero
      const auto half = _mm512_cvtneps_pbh((__m512)v);
      std::memcpy(p, &half, sizeof(half));
      return;
    }
#endif
    const auto bits = (Vec<std::uint32_t, N>)v;
    const auto rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const auto quiet = (bits >> 16) | 0x40u;
    const auto half = __builtin_convertvector(v != v ? quiet : rounded, Vec<std::uint16_t, N>);
    std::memcpy(p, &half, sizeof(half));
  } else if constexpr (std::is_same_v<S, Float16>) {
#if defined(__AVX512F__)
    if constexpr (N == 16)
      return _mm256_storeu_si256(
          reinterpret_cast<__m256i*>(p),
          _mm512_maskz_cvtps_ph(0xffff, (__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#endif
#if defined(__F16C__)
    if constexpr (N == 8)
      return _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                              _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#endif
    for (int i = 0; i < N; ++i) p[i] = from_float<Float16>(v[i]);
  } else {
    const auto converted = __builtin_convertvector(v, Vec<S, N>);
    std::memcpy(p, &converted, sizeof(converted));
  }
}

}  // namespace saccade::SACCADE_ISA
