// Gradients of hog (csrc/ops/hog.h), one pixel at a time: for both devices, where rounding could decide the bin or the
// channel. Lengths take basic operations only, and angles do where the image's values are integers, so that the same
// results come from every C library and from CUDA's.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "common/macros.h"

namespace saccade {

enum class HogNorm : int { kL1, kL1Sqrt, kL2, kL2Hys };

constexpr std::int32_t kHogNoBin = -2, kHogAllBins = -3;
constexpr double kHogEps = 1e-5, kHogMost = 0.2;  // of the norms; the value at which L2-Hys cuts

// One image, (C, H, W), contiguous.
template <class T>
struct HogPlanes {
  const T* data;
  std::int64_t channels, height, width;
};

// Floats are subtracted as floats: the rounding is part of the result.
template <class T>
struct HogGradient {
  using F = std::conditional_t<sizeof(T) == 4, float, double>;
  F dx, dy;
};

template <class T>
SACCADE_HD HogGradient<T> hog_gradient(const HogPlanes<T>& image, std::int64_t c, std::int64_t y, std::int64_t x) {
  using F = typename HogGradient<T>::F;
  const T* p = image.data + (c * image.height + y) * image.width + x;
  HogGradient<T> gradient{};
  if (x > 0 && x < image.width - 1) gradient.dx = static_cast<F>(p[1]) - static_cast<F>(p[-1]);
  if (y > 0 && y < image.height - 1) gradient.dy = static_cast<F>(p[image.width]) - static_cast<F>(p[-image.width]);
  return gradient;
}

// hypot, whose last bit is not the same everywhere: a square root, and what rounding left of the squares.
SACCADE_HD double hog_length(double dx, double dy) {
  if (std::isinf(dx) || std::isinf(dy)) return HUGE_VAL;
  double a = std::fabs(dx), b = std::fabs(dy), scale = 1;
  if (a < b) {
    const double larger = b;
    b = a;
    a = larger;
  }
  if (a > 1e150) scale = 0x1p600;
  if (a < 1e-140) scale = 0x1p-600;
  a /= scale, b /= scale;
  const double aa = a * a, bb = b * b, length = std::sqrt(aa + bb);
  if (!(length > 0)) return length;
  const double square = length * length;
  const double lost = std::fma(a, a, -aa) + std::fma(b, b, -bb) - std::fma(length, length, -square);
  return (length + (aa - square + bb + lost) / (2 * length)) * scale;
}

// As the reference compares channels: in the image's own type.
SACCADE_HD float hog_length(float dx, float dy) {
  if (std::isinf(dx) || std::isinf(dy)) return HUGE_VALF;
  const double x = static_cast<double>(dx), y = static_cast<double>(dy);
  return static_cast<float>(std::sqrt(x * x + y * y));
}

// atan2; where a direction lies on the edge of a bin exactly, the constant that it rounds to.
SACCADE_HD double hog_angle(double dx, double dy) {
  constexpr double kQuarter = 0.78539816339744831, kHalf = 1.5707963267948966, kThreeQuarters = 2.3561944901923449;
  const double across = std::fabs(dx), down = std::fabs(dy);
  if (down > 0 && across == 0) return std::copysign(kHalf, dy);
  if (down > 0 && across == down) return std::copysign(dx > 0 ? kQuarter : kThreeQuarters, dy);
  return std::atan2(dy, dx);
}

// Step by step as NumPy does it.
SACCADE_HD std::int32_t hog_exact_bin(double dx, double dy, std::int64_t bins) {
  constexpr double kPi = 3.14159265358979323846;
  double angle = std::fmod(hog_angle(dx, dy) * (180.0 / kPi), 180.0);
  if (angle < 0) angle += 180.0;
  if (std::isnan(angle)) return kHogAllBins;
  const double width = 180.0 / static_cast<double>(bins);
  for (std::int64_t b = 0; b < bins; ++b)
    if (angle >= width * static_cast<double>(b) && angle < width * static_cast<double>(b + 1))
      return static_cast<std::int32_t>(b);
  return kHogNoBin;
}

struct HogVote {
  double magnitude;
  std::int32_t bin;
};

template <class T>
SACCADE_HD HogVote hog_exact_vote(const HogPlanes<T>& image, std::int64_t y, std::int64_t x, std::int64_t bins) {
  using F = typename HogGradient<T>::F;
  HogGradient<T> longest{};
  F most = 0;
  for (std::int64_t c = 0; c < image.channels; ++c) {
    const HogGradient<T> gradient = hog_gradient(image, c, y, x);
    const F length = hog_length(gradient.dx, gradient.dy);
    // The first of the longest, and a NaN is longer than all.
    if (c == 0 || length > most || (std::isnan(length) && !std::isnan(most))) longest = gradient, most = length;
  }
  const double dx = static_cast<double>(longest.dx), dy = static_cast<double>(longest.dy);
  return {hog_length(dx, dy), hog_exact_bin(dx, dy, bins)};
}

// Cells are added up in float32.
SACCADE_HD float hog_add(float sum, double magnitude) {
  return static_cast<float>(static_cast<double>(sum) + magnitude);
}

}  // namespace saccade
