#include "ops/grab_mixture.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/error.h"

namespace saccade {
namespace {

constexpr int kAttempts = 4, kTrials = 3, kLloyd = 10;
constexpr std::int64_t kSample = 1 << 12;

double determinant(const double* c) {
  return c[0] * (c[4] * c[8] - c[5] * c[7]) - c[1] * (c[3] * c[8] - c[5] * c[6]) + c[2] * (c[3] * c[7] - c[4] * c[6]);
}

// The inverse of the Cholesky factor of a covariance, and half the logarithm of its determinant.
struct Root {
  double inverse[6];
  double half_log;
  explicit Root(const double* c) {
    constexpr double kLeast = 1e-9;  // of a pivot: what rounding may leave of a flat direction
    const double a = std::sqrt(std::max(c[0], kLeast)), b = c[3] / a, d = c[6] / a;
    const double e = std::sqrt(std::max(c[4] - b * b, kLeast)), f = (c[7] - d * b) / e;
    const double g = std::sqrt(std::max(c[8] - d * d - f * f, kLeast));
    inverse[0] = 1 / a;
    inverse[1] = -b / (a * e), inverse[2] = 1 / e;
    inverse[3] = (b * f / e - d) / (a * g), inverse[4] = -f / (e * g), inverse[5] = 1 / g;
    half_log = std::log(a) + std::log(e) + std::log(g);
  }
};

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  double uniform() {  // splitmix64 (Steele, Lea and Flood 2014)
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
  }

 private:
  std::uint64_t state_;
};

struct Point {
  float x[3];
};

float distance(const Point& p, const Point& q) {
  const float a = p.x[0] - q.x[0], b = p.x[1] - q.x[1], c = p.x[2] - q.x[2];
  return a * a + b * b + c * c;
}

// k-means++ (Arthur and Vassilvitskii 2007), the best of a few candidates for each centre.
std::vector<Point> first_centres(const std::vector<Point>& points, Random& random) {
  const auto pick = [&](double u) { return std::min(static_cast<std::size_t>(u), points.size() - 1); };
  std::vector<Point> centres{points[pick(random.uniform() * static_cast<double>(points.size()))]};
  std::vector<float> least(points.size(), std::numeric_limits<float>::max()), trial(points.size()), best;
  double total = 0;
  const auto lower = [&](const Point& centre, std::vector<float>& to) {
    double sum = 0;
    for (std::size_t i = 0; i < points.size(); ++i) {
      to[i] = std::min(least[i], distance(points[i], centre));
      sum += static_cast<double>(to[i]);
    }
    return sum;
  };
  total = lower(centres[0], least);
  while (centres.size() < kGrabComponents) {
    double best_total = std::numeric_limits<double>::max();
    std::size_t chosen = 0;
    for (int t = 0; t < kTrials; ++t) {
      double left = random.uniform() * total;
      std::size_t i = 0;
      for (; i + 1 < points.size(); ++i)
        if ((left -= static_cast<double>(least[i])) < 0) break;
      const double sum = lower(points[i], trial);
      if (sum < best_total) best_total = sum, chosen = i, best = trial;
    }
    centres.push_back(points[chosen]);
    least = best, total = best_total;
  }
  return centres;
}

// The sum of squared distances, before the last step.
double lloyd(const std::vector<Point>& points, std::vector<Point>& centres) {
  double compactness = 0;
  for (int iteration = 0; iteration < kLloyd; ++iteration) {
    double sums[kGrabComponents][4] = {};
    compactness = 0;
    for (const Point& p : points) {
      int nearest = 0;
      float least = distance(p, centres[0]);
      for (int k = 1; k < kGrabComponents; ++k) {
        const float d = distance(p, centres[static_cast<std::size_t>(k)]);
        if (d < least) least = d, nearest = k;
      }
      for (int c = 0; c < 3; ++c) sums[nearest][c] += static_cast<double>(p.x[c]);
      ++sums[nearest][3];
      compactness += static_cast<double>(least);
    }
    for (int k = 0; k < kGrabComponents; ++k)
      for (int c = 0; sums[k][3] > 0 && c < 3; ++c)
        centres[static_cast<std::size_t>(k)].x[c] = static_cast<float>(sums[k][c] / sums[k][3]);
  }
  return compactness;
}

}  // namespace

void GrabSums::add(const GrabPlanes& planes, const std::uint8_t* component, std::int64_t begin, std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i) {
    std::int64_t* s = sums[component[i]];
    const std::int64_t a = planes.a[i], b = planes.b[i], c = planes.c[i];
    ++s[0];
    s[1] += a, s[2] += b, s[3] += c;
    s[4] += a * a, s[5] += a * b, s[6] += a * c, s[7] += b * b, s[8] += b * c, s[9] += c * c;
  }
}

void GrabMixture::learn(const std::int64_t (*sums)[kGrabSums]) {
  std::int64_t total = 0;
  for (int k = 0; k < kGrabComponents; ++k) total += sums[k][0];
  if (total == 0) return;
  for (int k = 0; k < kGrabComponents; ++k) {
    const auto n = static_cast<double>(sums[k][0]);
    weight_[k] = n / static_cast<double>(total);
    if (sums[k][0] == 0) continue;
    double* c = covariance_[k];
    constexpr int kPlace[3][3] = {{4, 5, 6}, {5, 7, 8}, {6, 8, 9}};
    for (int i = 0; i < 3; ++i) mean_[k][i] = static_cast<double>(sums[k][1 + i]) / n;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j)
        c[3 * i + j] = static_cast<double>(sums[k][kPlace[i][j]]) / n - mean_[k][i] * mean_[k][j];
    if (determinant(c) <= 1e-6)
      for (int i = 0; i < 3; ++i) c[4 * i] += 0.01;
  }
}

GrabSide GrabMixture::packed() const {
  GrabSide side{};
  for (int k = 0; k < kGrabComponents; ++k) {
    if (!(weight_[k] > 0)) continue;
    GrabComponent& g = side.components[side.count++];
    const Root root(covariance_[k]);
    for (int i = 0; i < 3; ++i) g.mean[i] = static_cast<float>(mean_[k][i]);
    for (int i = 0; i < 6; ++i) g.root[i] = static_cast<float>(root.inverse[i]);
    g.log_peak = static_cast<float>(-root.half_log);
    g.log_weight = static_cast<float>(std::log(weight_[k]) - root.half_log);
    g.index = static_cast<std::uint8_t>(k);
  }
  return side;
}

void GrabMixture::read(const char* op, const char* name, const double* model) {
  double total = 0;
  bool valid = true;
  for (int i = 0; i < 13 * kGrabComponents; ++i) valid &= std::isfinite(model[i]);
  for (int k = 0; k < kGrabComponents; ++k) {
    weight_[k] = model[k];
    total += weight_[k];
    valid &= weight_[k] >= 0;
    std::copy_n(model + kGrabComponents + 3 * k, 3, mean_[k]);
    std::copy_n(model + 4 * kGrabComponents + 9 * k, 9, covariance_[k]);
    const double* c = covariance_[k];
    // Sylvester's criterion.
    valid &= weight_[k] == 0 || (c[0] > 0 && c[0] * c[4] - c[1] * c[3] > 0 && determinant(c) > 0);
  }
  require(valid && total > 0, op, ": ", name,
          " must hold weights that are not negative, means and positive definite covariances, as grab_cut returns it");
}

void GrabMixture::write(double* model) const {
  for (int k = 0; k < kGrabComponents; ++k) {
    model[k] = weight_[k];
    std::copy_n(mean_[k], 3, model + kGrabComponents + 3 * k);
    std::copy_n(covariance_[k], 9, model + 4 * kGrabComponents + 9 * k);
  }
}

void learn(const std::vector<GrabSums>& blocks, GrabMixture* sides) {
  GrabSums all;
  for (const GrabSums& block : blocks)
    for (int k = 0; k < 2 * kGrabComponents; ++k)
      for (int i = 0; i < kGrabSums; ++i) all.sums[k][i] += block.sums[k][i];
  sides[0].learn(all.sums);
  sides[1].learn(all.sums + kGrabComponents);
}

GrabSide cluster(const GrabPlanes& planes, const std::uint8_t* mask, std::int64_t pixels, int side,
                 std::uint64_t seed) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < pixels; ++i) count += (mask[i] & 1) == side;
  const std::int64_t step = (count + kSample - 1) / kSample;
  std::vector<Point> points;
  points.reserve(static_cast<std::size_t>(kSample));
  for (std::int64_t i = 0, k = 0; i < pixels; ++i)
    if ((mask[i] & 1) == side && k++ % step == 0)
      points.push_back(
          {{static_cast<float>(planes.a[i]), static_cast<float>(planes.b[i]), static_cast<float>(planes.c[i])}});
  Random random(2 * seed + static_cast<std::uint64_t>(side));
  std::vector<Point> centres;
  double least = std::numeric_limits<double>::infinity();
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::vector<Point> tried = first_centres(points, random);
    const double compactness = lloyd(points, tried);
    if (attempt == 0 || compactness < least) least = compactness, centres = std::move(tried);
  }
  GrabSide result{};
  result.count = kGrabComponents;
  for (int k = 0; k < kGrabComponents; ++k) {
    GrabComponent& g = result.components[k];
    std::copy_n(centres[static_cast<std::size_t>(k)].x, 3, g.mean);
    g.root[0] = g.root[2] = g.root[5] = 1;
    g.index = static_cast<std::uint8_t>(k);
  }
  return result;
}

}  // namespace saccade
