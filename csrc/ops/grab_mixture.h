// Gaussian mixtures of colours for grab_cut: learnt from sums over pixels, started by k-means.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/grab_cut.h"

namespace saccade {

// Sums over the pixels of each component of each side.
struct GrabSums {
  std::int64_t sums[2 * kGrabComponents][kGrabSums] = {};
  void add(const GrabPlanes& planes, const std::uint8_t* component, std::int64_t begin, std::int64_t end);
};

class GrabMixture {
 public:
  // `sums`: one row for each component. Without any pixel the mixture stays as it is.
  void learn(const std::int64_t (*sums)[kGrabSums]);
  GrabSide packed() const;
  void read(const char* op, const char* name, const double* model);
  void write(double* model) const;

 private:
  double weight_[kGrabComponents] = {};
  double mean_[kGrabComponents][3] = {};
  double covariance_[kGrabComponents][9] = {};
};

void learn(const std::vector<GrabSums>& blocks, GrabMixture* sides);

// k-means centres of one side's pixels, as Gaussians of unit variance.
GrabSide cluster(const GrabPlanes& planes, const std::uint8_t* mask, std::int64_t pixels, int side, std::uint64_t seed);

}  // namespace saccade
