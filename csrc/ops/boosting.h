// Searching weak learners: the best split of weighted samples over many features.
//
// A finder is made once from the samples' feature values and asked again and again with new weights. What a split is
// worth is defined in csrc/kernels/boosting.h. The search is exact: features whose worth in integer arithmetic comes
// near the best are looked at again in float64; of equal ones the first feature wins, then the lowest threshold. The
// result does not depend on the number of threads or the instruction set.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/scratch.h"
#include "common/tensor_view.h"
#include "kernels/boosting.h"
#include "ops/haar_features.h"

namespace saccade {

struct Split {
  double worth = -1;
  std::int64_t feature = -1;  // -1: no feature takes two values
  std::int32_t place = -1;    // samples up to this rank (sorted) or bin are on the left
};

class SplitFinder {
 public:
  virtual ~SplitFinder() = default;
  std::int64_t samples() const { return samples_; }
  std::int64_t features() const { return features_; }
  std::int64_t bytes() const { return bytes_; }

  // weights: (samples,) float64, signed: label times weight; at least one is not zero.
  Split best_split(const TensorView& weights, SplitCriterion criterion) const;

  // Writes for every sample whether it is on the left of a split.
  virtual void left(std::int64_t feature, std::int32_t place, bool* out) const = 0;

 protected:
  void check_place(std::int64_t feature) const;
  // The worth and place of all features, for integer weights.
  virtual void search(SplitCriterion criterion, const std::vector<std::int32_t>& weights, const Splits& out) const = 0;
  // Sums of `weights` and of their amounts, up to each place of one feature that a split may follow.
  struct Sums {
    std::int32_t place;
    double sum, mass;
  };
  virtual void sums(std::int64_t feature, const double* weights, std::vector<Sums>& out) const = 0;

  std::int64_t samples_ = 0, features_ = 0, bytes_ = 0;

 private:
  Split exact(std::int64_t feature, const double* weights, double total, double mass, SplitCriterion criterion) const;
};

// Exact thresholds: 2 bytes a value (4 from 65,537 samples on). x: (samples, features) float32 or float64, no NaN.
std::unique_ptr<SplitFinder> sorted_features(const TensorView& x);

// Thresholds between 256 quantiles of each feature (all thresholds, where it takes no more values): 1 byte a value.
class BinnedFeatures : public SplitFinder {
 public:
  explicit BinnedFeatures(const TensorView& x);
  void left(std::int64_t feature, std::int32_t place, bool* out) const override;

 protected:
  BinnedFeatures(std::int64_t samples, std::int64_t features);
  void search(SplitCriterion criterion, const std::vector<std::int32_t>& weights, const Splits& out) const override;
  void sums(std::int64_t feature, const double* weights, std::vector<Sums>& out) const override;
  std::uint8_t* row(std::int64_t feature) const { return bins_.data() + feature * stride_; }

 private:
  std::int64_t stride_;
  Scratch<std::uint8_t> bins_;
};

// The same for Haar features of windows, whose values are never held all at once. sums: (windows, height + 1, width +
// 1) int32 integral images, tilted likewise where the table needs them; scale: (windows,) float32 factors. A value is
// the feature, converted to float32, times the scale: what the cascade's detector computes.
class HaarBins : public BinnedFeatures {
 public:
  HaarBins(const TensorView& sums, const TensorView& tilted, const HaarTable& table, const TensorView& scale);
  // Values of one feature, (windows,).
  void values(std::int64_t feature, float* out) const;

 private:
  struct Place {
    std::int32_t kind, index;
  };
  HaarRows run_of(std::int32_t kind, std::int64_t chunk) const;

  std::int64_t points_, padded_;  // windows, up to a multiple of 16
  Scratch<std::int32_t> sums_;
  Scratch<float> scale_;
  std::vector<std::int32_t> kinds_;
  std::vector<std::uint16_t> offsets_;
  std::vector<std::int64_t> first_offset_;
  std::vector<Place> places_;
};

}  // namespace saccade
