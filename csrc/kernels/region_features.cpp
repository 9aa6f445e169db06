// Pixels of float64, a register at a time by the compiler: no sum of floats runs across pixels, so that results are the
// same at every width. Histograms are compared as integers for the same reason, and because 16 bits take half the
// registers that float32 would: 315 bins are ten registers of AVX-512.
#include "kernels/region_features.h"

#include "common/macros.h"

namespace saccade::SACCADE_ISA {
namespace {

constexpr double kHalf = 0.70710678118654752440;

SACCADE_HD std::uint8_t level(double x) {
  x = x * 255 + 0.5;
  x = x < 0 ? 0 : x;
  return static_cast<std::uint8_t>(static_cast<std::int32_t>(x > 255 ? 255 : x));
}

// The cube root of x in [0, 1.1] by Halley's iteration, from the exponent divided by three.
SACCADE_HD double cube_root(double x) {
  std::int64_t bits;
  const float near = static_cast<float>(x);
  std::int32_t word;
  __builtin_memcpy(&word, &near, 4);
  bits = word / 3 + 709921077;
  word = static_cast<std::int32_t>(bits);
  float start;
  __builtin_memcpy(&start, &word, 4);
  double y = start;
  for (int k = 0; k < 3; ++k) {
    const double cube = y * y * y;
    y = y * (cube + 2 * x) / (2 * cube + x);
  }
  return y;
}

// CIE 1976, section 4: t^(1/3), and a line below (6 / 29)^3.
SACCADE_HD double lightness(double t) {
  const double root = cube_root(t), line = t * (841.0 / 108) + 4.0 / 29;
  return t > 216.0 / 24389 ? root : line;
}

void lab(const std::uint8_t* red, const std::uint8_t* green, const std::uint8_t* blue, const double* linear,
         std::int64_t n, std::uint8_t* SACCADE_RESTRICT out, std::int64_t stride) {
  for (std::int64_t i = 0; i < n; ++i) {
    const double r = linear[red[i]], g = linear[green[i]], b = linear[blue[i]];
    // IEC 61966-2-1 to XYZ, by the white of D65.
    const double x = lightness((0.412453 * r + 0.357580 * g + 0.180423 * b) / 0.95047);
    const double y = lightness(0.212671 * r + 0.715160 * g + 0.072169 * b);
    const double z = lightness((0.019334 * r + 0.119193 * g + 0.950227 * b) / 1.08883);
    out[i] = level((116 * y - 16) / 100);
    out[stride + i] = level((500 * (x - y) + 128) / 255);
    out[2 * stride + i] = level((200 * (y - z) + 128) / 255);
  }
}

SACCADE_HD double grey(double r, double g, double b) { return (299 * r + 587 * g + 114 * b) / 255000; }

// hue: hexagonal, in [0, 1); 0 where there is none.
SACCADE_HD void hsv_pixel(double r, double g, double b, double& hue, double& saturation, double& value) {
  const double high = r > g ? (r > b ? r : b) : (g > b ? g : b), low = r < g ? (r < b ? r : b) : (g < b ? g : b);
  const double range = high - low, over = range > 0 ? range : 1;
  double h = high == r ? (g - b) / over : high == g ? 2 + (b - r) / over : 4 + (r - g) / over;
  h = h / 6;
  hue = h < 0 ? h + 1 : h;
  saturation = range / (high > 0 ? high : 1);
  value = high / 255;
}

void convert(ColorSpace space, const std::uint8_t* red, const std::uint8_t* green, const std::uint8_t* blue,
             const double* linear, std::int64_t n, std::uint8_t* SACCADE_RESTRICT out, std::int64_t stride) {
  if (space == ColorSpace::kLab) return lab(red, green, blue, linear, n, out, stride);
  for (std::int64_t i = 0; i < n; ++i) {
    const double r = red[i], g = green[i], b = blue[i];
    double hue, saturation, value;
    switch (space) {
      case ColorSpace::kGrey: out[i] = level(grey(r, g, b)); break;
      case ColorSpace::kHue:
      case ColorSpace::kHsv:
        hsv_pixel(r, g, b, hue, saturation, value);
        out[i] = level(hue);
        if (space == ColorSpace::kHue) break;
        out[stride + i] = level(saturation);
        out[2 * stride + i] = level(value);
        break;
      case ColorSpace::kRgi: {
        const double sum = r + g + b;
        out[i] = level(sum > 0 ? r / sum : 1.0 / 3);
        out[stride + i] = level(sum > 0 ? g / sum : 1.0 / 3);
        out[2 * stride + i] = level(grey(r, g, b));
        break;
      }
      default: out[i] = red[i], out[stride + i] = green[i], out[2 * stride + i] = blue[i];
    }
  }
}

double strongest(const double* gx, const double* gy, std::int64_t n) {
  double most = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double x = __builtin_fabs(gx[i]), y = __builtin_fabs(gy[i]), both = (x + y) * kHalf;
    double most_here = x > y ? x : y;
    most_here = both > most_here ? both : most_here;
    most = most_here > most ? most_here : most;
  }
  return most;
}

SACCADE_HD std::uint8_t signed_bin(double response, double factor) {
  const double scaled = response * factor;
  const double clipped = scaled > 9 ? 9 : scaled < -9 ? -9 : scaled;
  return static_cast<std::uint8_t>(9 + static_cast<std::int32_t>(clipped));
}

void directions(const double* gx, const double* gy, double factor, std::int64_t n, std::uint8_t* SACCADE_RESTRICT out,
                std::int64_t stride) {
  for (std::int64_t i = 0; i < n; ++i) {
    out[i] = signed_bin(gx[i], factor);
    out[stride + i] = signed_bin((gx[i] + gy[i]) * kHalf, factor);
    out[2 * stride + i] = signed_bin(gy[i], factor);
    out[3 * stride + i] = signed_bin((gy[i] - gx[i]) * kHalf, factor);
  }
}

std::int64_t intersection(const std::int16_t* a, const std::int16_t* b, std::int64_t n) {
  std::int32_t sum = 0;  // at most 27 histograms of 32767 and rounding
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] < b[i] ? a[i] : b[i];
  return sum;
}

void normalize(const std::int32_t* counts, double factor, std::int64_t n, std::int16_t* SACCADE_RESTRICT out) {
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = static_cast<std::int16_t>(static_cast<std::int32_t>(counts[i] * factor + 0.5));
}

}  // namespace

const RegionFeatureKernels region_feature_kernels = {convert, strongest, directions, intersection, normalize};

}  // namespace saccade::SACCADE_ISA
