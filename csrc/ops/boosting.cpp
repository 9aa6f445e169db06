#include "ops/boosting.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/parallel.h"
#include "ops/checks.h"

namespace saccade {
namespace {

constexpr double kMass = 1 << 30;  // of all integer weights together

struct Weights {
  std::vector<double> exact;
  std::vector<std::int32_t> rounded;
  double total = 0, mass = 0;
};

Weights read(const TensorView& view, std::int64_t samples) {
  require_shape("best_split", "weights", view, "(samples,)", {samples});
  require_dtype("best_split", "weights", view, DType::kFloat64);
  Weights weights;
  weights.exact.resize(static_cast<std::size_t>(samples));
  for (std::int64_t i = 0; i < samples; ++i) {
    const double w = view.ptr<double>()[i * view.stride(0)];
    weights.exact[static_cast<std::size_t>(i)] = w;
    weights.total += w;
    weights.mass += std::abs(w);
  }
  require(weights.mass > 0 && weights.mass < std::numeric_limits<double>::infinity(),
          "best_split: weights must be finite and not all zero, got a sum of ", weights.mass);
  const double scale = (kMass - static_cast<double>(samples)) / weights.mass;
  weights.rounded.resize(weights.exact.size());
  for (std::size_t i = 0; i < weights.exact.size(); ++i)
    weights.rounded[i] = static_cast<std::int32_t>(std::nearbyint(weights.exact[i] * scale));
  return weights;
}

}  // namespace

Split SplitFinder::exact(std::int64_t feature, const double* weights, double total, double mass,
                         SplitCriterion criterion) const {
  std::vector<Sums> steps;
  sums(feature, weights, steps);
  Split best;
  for (const Sums& left : steps) {
    const double right = total - left.sum, right_mass = mass - left.mass;
    // Rounding may leave a little of an empty side.
    if (left.mass <= 1e-12 * mass || right_mass <= 1e-12 * mass) continue;
    const double worth = criterion == SplitCriterion::kError
                             ? std::abs(left.sum - right)
                             : left.sum * left.sum / left.mass + right * right / right_mass;
    if (worth > best.worth) best = {worth, feature, left.place};
  }
  return best;
}

Split SplitFinder::best_split(const TensorView& view, SplitCriterion criterion) const {
  const Weights weights = read(view, samples_);
  const auto count = static_cast<std::size_t>(features_);
  std::vector<float> worth(count);
  std::vector<std::int32_t> place(count);
  search(criterion, weights.rounded, {worth.data(), place.data()});

  const float best = count == 0 ? -1.0f : *std::max_element(worth.begin(), worth.end());
  if (best < 0) return {};
  // Rounding a weight moves a sum by half a unit and a worth by 1 (kError) or 3 (kSquares) halves per sample and side;
  // float32 adds a few parts in 2^24.
  const double slack = criterion == SplitCriterion::kError ? 1 : 6;
  const double least = best * (1 - 0x1p-20) - slack * static_cast<double>(samples_);
  std::vector<std::int64_t> near;
  for (std::size_t f = 0; f < count; ++f)
    if (place[f] >= 0 && worth[f] >= least) near.push_back(static_cast<std::int64_t>(f));
  std::vector<Split> splits(near.size());
  parallel_for_dynamic(static_cast<std::int64_t>(near.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      splits[static_cast<std::size_t>(i)] =
          exact(near[static_cast<std::size_t>(i)], weights.exact.data(), weights.total, weights.mass, criterion);
  });
  Split found;
  for (const Split& split : splits)
    if (split.worth > found.worth) found = split;
  return found;
}

void SplitFinder::check_place(std::int64_t feature) const {
  require(feature >= 0 && feature < features_, "left: feature must be from 0 to ", features_ - 1, ", got ", feature);
}

}  // namespace saccade
