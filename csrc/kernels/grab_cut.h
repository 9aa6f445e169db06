// Kernels of grab_cut (csrc/ops/grab_cut.h). Pixels are three planes of uint8 with kGrabPadding pixels to spare behind
// the last one of the range; every kernel works on whole registers and may write up to 63 elements past its range.
#pragma once

#include <cstdint>

#include "isa/isa.h"

namespace saccade {

constexpr int kGrabComponents = 5;
constexpr int kGrabPadding = 64;
constexpr int kGrabSums = 10;            // 1, r, g, b, rr, rg, rb, gg, gb, bb
constexpr float kGrabScale = 65536.0f;   // of energies as integers
constexpr float kGrabLargest = 1 << 29;  // of unary terms as integers

struct GrabPlanes {
  const std::uint8_t *a, *b, *c;
};

// Gaussians of one side that have a weight: log(weight * density) = log_weight - |root (x - mean)|^2 / 2, root lower
// triangular; log_peak is log_weight without the mixing weight.
struct GrabComponent {
  float mean[3], root[6], log_peak, log_weight;
  std::uint8_t index;
};
struct GrabSide {
  int count;
  GrabComponent components[kGrabComponents];
};

struct GrabCutKernels {
  // component[i]: the densest Gaussian, without mixing weights, of the side the pixel is on: its index, plus 5 on the
  // side of the foreground. sides: background, foreground.
  void (*assign)(const GrabPlanes&, const std::uint8_t* mask, std::int64_t begin, std::int64_t end,
                 const GrabSide* sides, std::uint8_t* component);
  // excess[i]: round(scale * (log p(foreground) - log p(background))); -+ hard for pixels that are certain.
  void (*unary)(const GrabPlanes&, const std::uint8_t* mask, std::int64_t begin, std::int64_t end,
                const GrabSide* sides, float hard, std::int32_t* excess);
  // weights[i] = round(peak * exp(-beta * |x[i] - x[i + ahead]|^2)).
  void (*weights)(const GrabPlanes&, std::int64_t begin, std::int64_t end, std::int64_t ahead, float beta, float peak,
                  std::int32_t* weights);
  // Sum of |x[i] - x[i + ahead]|^2 over fewer than 2^14 pixels.
  std::uint64_t (*differences)(const GrabPlanes&, std::int64_t begin, std::int64_t end, std::int64_t ahead);
};
SACCADE_KERNELS(GrabCutKernels, grab_cut_kernels)

}  // namespace saccade
