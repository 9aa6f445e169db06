// Separable filters of float64 planes, as scipy.ndimage.gaussian_filter computes them, bit for bit: mode "reflect",
// cut off at four standard deviations, rows (axis 0) first.
#pragma once

#include <cstdint>

#include "common/scratch.h"

namespace saccade {

// The weights of a Gaussian (order 0) or its derivative (order 1) by distance, normalised as scipy's.
class GaussianFilter {
 public:
  GaussianFilter(double sigma, int order);
  const double* weights() const { return weights_.data(); }
  std::int64_t radius() const { return radius_; }
  bool odd() const { return odd_; }

 private:
  std::int64_t radius_;
  bool odd_;
  Scratch<double> weights_;
};

// Filters `count` planes (h, w), one after the other, down the columns and then along the rows; out may be `planes`.
void filter_planes(const GaussianFilter& down, const GaussianFilter& along, const double* planes, std::int64_t count,
                   std::int64_t h, std::int64_t w, double* out);

}  // namespace saccade
