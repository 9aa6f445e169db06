// Features of many windows at once: a part of kernels/cascade.cpp.
#pragma once

#include "isa/simd.h"
#include "kernels/cascade.h"

namespace saccade::SACCADE_ISA {
namespace {

template <class Windows>
using V = Vec<float, Windows::kLanes>;
template <class Windows>
using I = Vec<std::int32_t, Windows::kLanes>;
template <class Windows>
using U = Vec<std::uint32_t, Windows::kLanes>;
template <class Windows>
using M = Mask<V<Windows>>;
constexpr int kWidth = kLanes<float>;

using Corner = const std::uint32_t*;

// ---- Where the windows in a register stand ----

struct Neighbours {
  static constexpr int kLanes = kWidth;
  Corner first;
  Corner at(int lane) const { return first + lane; }
};
SACCADE_HD U<Neighbours> fetch(const Neighbours& windows, std::int32_t offset) {
  return load<U<Neighbours>>(windows.first + offset);
}

// Two quads at once, also where registers hold four: joining takes arithmetic slots, so four cost as much as two pairs,
// and late stages rarely have four (measured: 111 ms with four, 99 ms with two; frontalface_default, 1920 x 1080).
constexpr int kQuads = kWidth >= 8 ? 2 : 1;
struct Quads {
  static constexpr int kLanes = 4 * kQuads;
  Corner first[kQuads];
  Corner at(int lane) const { return first[lane / 4] + lane % 4; }
};
template <class T>
SACCADE_HD Vec<T, Quads::kLanes> join(const T* const* first, std::int32_t offset) {
  using Q = Vec<T, 4>;
#if defined(__AVX2__)
  // Of __builtin_shufflevector GCC 12 makes three shuffles; an insertion from memory is one operation.
  return (Vec<T, 8>)_mm256_inserti128_si256(_mm256_castsi128_si256((__m128i)load<Q>(first[0] + offset)),
                                            (__m128i)load<Q>(first[1] + offset), 1);
#else
  static_assert(kQuads == 1);
  return load<Q>(first[0] + offset);
#endif
}
SACCADE_HD U<Quads> fetch(const Quads& windows, std::int32_t offset) { return join(windows.first, offset); }

// ---- Which windows go left at a node ----

template <class Windows>
SACCADE_HD V<Windows> rect_sum(const Windows& at, const std::int32_t* o) {
  const U<Windows> sum = fetch(at, o[0]) - fetch(at, o[1]) - fetch(at, o[2]) + fetch(at, o[3]);
  return __builtin_convertvector((I<Windows>)sum, V<Windows>);
}

template <CascadeForm form, class Windows>
SACCADE_HD M<Windows> goes_left(const CascadeHaarNode& node, const Windows& at, V<Windows> scale) {
  const std::int32_t* o = node.offset;
  V<Windows> value;
  if constexpr (form == CascadeForm::kEdge) {
    const U<Windows> twice = fetch(at, o[4]) - fetch(at, o[5]);
    const U<Windows> sum = (fetch(at, o[0]) - fetch(at, o[1])) + (fetch(at, o[2]) - fetch(at, o[3])) + (twice + twice);
    value = __builtin_convertvector((I<Windows>)sum, V<Windows>);
  } else if constexpr (form == CascadeForm::kQuad) {
    const U<Windows> minus = (fetch(at, o[4]) + fetch(at, o[5])) + (fetch(at, o[6]) + fetch(at, o[7]));
    const U<Windows> centre = fetch(at, o[8]);
    const U<Windows> twice = (centre + centre) - minus;
    const U<Windows> sum = (fetch(at, o[0]) + fetch(at, o[1])) + (fetch(at, o[2]) + fetch(at, o[3])) + (twice + twice);
    value = __builtin_convertvector((I<Windows>)sum, V<Windows>);
  } else {
    value =
        splat<V<Windows>>(node.weight[0]) * rect_sum(at, o) + splat<V<Windows>>(node.weight[1]) * rect_sum(at, o + 4);
    if constexpr (form == CascadeForm::kRects3) value = value + splat<V<Windows>>(node.weight[2]) * rect_sum(at, o + 8);
  }
  return value * scale < splat<V<Windows>>(node.threshold);
}

template <class Windows>
SACCADE_HD M<Windows> goes_left(const CascadeHaarNode& node, CascadeForm form, const Windows& at, V<Windows> scale) {
  switch (form) {
    case CascadeForm::kEdge: return goes_left<CascadeForm::kEdge>(node, at, scale);
    case CascadeForm::kQuad: return goes_left<CascadeForm::kQuad>(node, at, scale);
    case CascadeForm::kRects3: return goes_left<CascadeForm::kRects3>(node, at, scale);
    case CascadeForm::kRects2: break;
  }
  return goes_left<CascadeForm::kRects2>(node, at, scale);
}

template <class Windows>
SACCADE_HD M<Windows> goes_left(const CascadeLbpNode& node, const Windows& at) {
  I<Windows> cell[9];
  U<Windows> below[4], above[4];
  for (int k = 0; k < 4; ++k) above[k] = fetch(at, node.offset[k]);
  for (int j = 0; j < 3; ++j) {
    for (int k = 0; k < 4; ++k) below[k] = fetch(at, node.offset[4 * j + 4 + k]);
    for (int k = 0; k < 3; ++k) cell[3 * j + k] = (I<Windows>)((below[k + 1] - above[k + 1]) - (below[k] - above[k]));
    for (int k = 0; k < 4; ++k) above[k] = below[k];
  }
  constexpr int kClockwise[8] = {0, 1, 2, 5, 8, 7, 6, 3};  // from the top left, highest bit first
  I<Windows> code{};
  for (int k = 0; k < 8; ++k) code |= (cell[kClockwise[k]] >= cell[4]) & (128 >> k);
  const U<Windows> word = (U<Windows>)gather<I<Windows>>(reinterpret_cast<const std::int32_t*>(node.subset), code >> 5);
  return (I<Windows>)((word >> ((U<Windows>)code & 31)) & 1) != 0;
}

}  // namespace
}  // namespace saccade::SACCADE_ISA
