// Kernels of selective_search (csrc/ops/selective_search.h): colours of pixels, bins of gradients, likeness of regions.
#pragma once

#include <cstdint>

#include "isa/isa.h"

namespace saccade {

enum class ColorSpace : int { kRgb = 0, kGrey = 1, kHsv = 2, kLab = 3, kRgi = 4, kHue = 5 };

constexpr int kTextureBins = 10;                // of each of 8 directions
constexpr int kSignedBins = 19;                 // of each of 4 axes: -9 .. 9, held as 0 .. 18
constexpr std::int64_t kHistogramUnit = 32767;  // histograms of regions are held in 16 bits

struct RegionFeatureKernels {
  // n pixels of planes of red, green and blue to one or three planes of 0 .. 255, `stride` apart. linear: the 256
  // values of sRGB made linear.
  void (*convert)(ColorSpace, const std::uint8_t* red, const std::uint8_t* green, const std::uint8_t* blue,
                  const double* linear, std::int64_t n, std::uint8_t* out, std::int64_t stride);
  // The greatest response of n gradients in any of the 8 directions.
  double (*strongest)(const double* gx, const double* gy, std::int64_t n);
  // Responses p of n gradients along the axes at 0, 45, 90 and 135 degrees, as 9 + sign(p) min(9, int(|p| factor)), in
  // planes `stride` apart.
  void (*directions)(const double* gx, const double* gy, double factor, std::int64_t n, std::uint8_t* out,
                     std::int64_t stride);
  // sum of min(a[i], b[i]).
  std::int64_t (*intersection)(const std::int16_t* a, const std::int16_t* b, std::int64_t n);
  // out[i] = int(counts[i] * factor + 0.5)
  void (*normalize)(const std::int32_t* counts, double factor, std::int64_t n, std::int16_t* out);
};
SACCADE_KERNELS(RegionFeatureKernels, region_feature_kernels)

}  // namespace saccade
