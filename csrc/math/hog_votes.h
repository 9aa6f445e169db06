// Votes and normalisation of the HOG descriptor (csrc/ops/hog_descriptor.h): one text for the SIMD kernels, where F is
// a register of floats and Arithmetic theirs, and for CUDA, where F is a float and Arithmetic HogNumbers.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/macros.h"
#include "math/box_iou.h"

namespace saccade {

struct HogNumbers {
  SACCADE_HD float load(const float* p) { return *p; }
  SACCADE_HD void store(float* p, float v) { *p = v; }
  SACCADE_HD float select(bool mask, float a, float b) { return mask ? a : b; }
  SACCADE_HD float fma(float a, float b, float c) { return std::fma(a, b, c); }
  SACCADE_HD float root(float v) { return std::sqrt(v); }
  SACCADE_HD float inverse_root(float v) { return 1.f / std::sqrt(v); }
  SACCADE_HD float truncate(float v) { return static_cast<float>(static_cast<std::int32_t>(v)); }
};

// The border pixel is not repeated: -1 is 1.
SACCADE_HD std::int64_t hog_mirror(std::int64_t i, std::int64_t size) {
  if (i >= 0 && i < size) return i;
  if (size == 1) return 0;
  const std::int64_t period = 2 * size - 2;
  i = ((i % period) + period) % period;
  return i < size ? i : period - i;
}

template <class F>
struct HogVoteOf {
  F first, second;  // what the two bins get
  F bin, next;      // which they are; where there is one bin only, both are 0 and the first gets all
};

// OpenCV's approximation of the arc tangent for 0 <= t <= 1, up to 1.6e-4 radians (0.009 degrees) off: part of the
// result, as detections depend on it. With the exact angle, scores of people differ by up to 1e-3 from OpenCV's.
template <class Arithmetic, class F>
SACCADE_HD F hog_arc_tangent(F t) {
  const F square = t * t;
  F p = constant<F>(-0.04432655554792128f);
  p = Arithmetic::fma(p, square, constant<F>(0.1555786518463281f));
  p = Arithmetic::fma(p, square, constant<F>(-0.3258083974640975f));
  p = Arithmetic::fma(p, square, constant<F>(0.9997878412794807f));
  return p * t;
}

template <class Arithmetic, class F>
SACCADE_HD HogVoteOf<F> hog_vote(F dx, F dy, int bin_count, float per_radian, bool full_circle) {
  const F kHalfTurn = constant<F>(3.14159265f), kRight = constant<F>(1.57079633f), zero{};
  const F square = Arithmetic::fma(dx, dx, dy * dy);
  const F length = square * Arithmetic::inverse_root(greater(square, constant<F>(1e-20f)));
  const F across = greater(dx, -dx), down = greater(dy, -dy);
  F angle = hog_arc_tangent<Arithmetic>(lesser(across, down) / greater(greater(across, down), constant<F>(1e-10f)));
  angle = Arithmetic::select(down > across, kRight - angle, angle);
  const auto left = dx < zero, up = dy < zero;
  if (full_circle) {
    angle = Arithmetic::select(left, kHalfTurn - angle, angle);
    angle = Arithmetic::select(up, kHalfTurn + kHalfTurn - angle, angle);
  } else {
    angle = Arithmetic::select(left != up, kHalfTurn - angle, angle);
  }
  const F bins = constant<F>(static_cast<float>(bin_count)), one = constant<F>(1.f);
  // One more, so that truncation rounds down.
  const F place = Arithmetic::fma(angle, constant<F>(per_radian), constant<F>(0.5f));
  const F floor = Arithmetic::truncate(place);
  HogVoteOf<F> vote;
  vote.second = length * (place - floor);
  vote.first = bin_count == 1 ? length : length - vote.second;
  vote.next = Arithmetic::select(floor >= bins, floor - bins, floor);
  vote.bin = Arithmetic::select(floor < one, floor - one + bins, floor - one);
  return vote;
}

// Of the gradients of several channels the largest, of equal ones the first. `largest`: the square of (dx, dy).
template <class Arithmetic, class F>
SACCADE_HD void hog_keep_largest(F& dx, F& dy, F& largest, F other_x, F other_y) {
  const F square = other_x * other_x + other_y * other_y;
  const auto more = square > largest;
  dx = Arithmetic::select(more, other_x, dx);
  dy = Arithmetic::select(more, other_y, dy);
  largest = Arithmetic::select(more, square, largest);
}

// v / (|v| + 0.1 n), no value above the threshold, then v / (|v| + 0.001). Values stand `step` floats apart.
template <class Arithmetic, class F>
SACCADE_HD void hog_normalise(float* values, std::int64_t step, int count, float threshold) {
  F sum{};
  for (int i = 0; i < count; ++i) {
    const F value = Arithmetic::load(values + i * step);
    sum = Arithmetic::fma(value, value, sum);
  }
  const F one = constant<F>(1.f);
  F scale = one / (Arithmetic::root(sum) + constant<F>(0.1f * static_cast<float>(count)));
  sum = F{};
  for (int i = 0; i < count; ++i) {
    const F value = lesser(Arithmetic::load(values + i * step) * scale, constant<F>(threshold));
    sum = Arithmetic::fma(value, value, sum);
    Arithmetic::store(values + i * step, value);
  }
  scale = one / (Arithmetic::root(sum) + constant<F>(1e-3f));
  for (int i = 0; i < count; ++i) Arithmetic::store(values + i * step, Arithmetic::load(values + i * step) * scale);
}

}  // namespace saccade
