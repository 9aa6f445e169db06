#include "ops/gaussian_planes.h"

#include <cmath>

#include "common/parallel.h"
#include "kernels/felzenszwalb.h"

namespace saccade {
namespace {

constexpr std::int64_t kBand = 32;  // rows that a thread takes at once

std::int64_t radius_of(double sigma) { return static_cast<std::int64_t>(4.0 * sigma + 0.5); }

// numpy.sum of n values that lie side by side: eight sums for every eight of up to 128, larger ones halved.
double pairwise_sum(const double* values, std::int64_t n) {
  if (n < 8) {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += values[i];
    return sum;
  }
  if (n > 128) {
    std::int64_t half = n / 2;
    half -= half % 8;
    return pairwise_sum(values, half) + pairwise_sum(values + half, n - half);
  }
  double r[8];
  for (int k = 0; k < 8; ++k) r[k] = values[k];
  std::int64_t i = 8;
  for (; i + 8 <= n; i += 8)
    for (int k = 0; k < 8; ++k) r[k] += values[i + k];
  double sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
  for (; i < n; ++i) sum += values[i];
  return sum;
}

// The index that position i, any integer, has in 0 .. n - 1: (d c b a | a b c d | d c b a).
std::int64_t reflected(std::int64_t i, std::int64_t n) {
  i %= 2 * n;
  if (i < 0) i += 2 * n;
  return i < n ? i : 2 * n - 1 - i;
}

}  // namespace

GaussianFilter::GaussianFilter(double sigma, int order)
    : radius_(radius_of(sigma)), odd_(order == 1), weights_(static_cast<std::size_t>(radius_ + 1)) {
  const double factor = -0.5 / (sigma * sigma);
  const Scratch<double> all(static_cast<std::size_t>(2 * radius_ + 1));
  for (std::int64_t i = -radius_; i <= radius_; ++i)
    all[i + radius_] = std::exp(factor * static_cast<double>(i) * static_cast<double>(i));
  const double sum = pairwise_sum(all.data(), 2 * radius_ + 1);
  for (std::int64_t d = 0; d <= radius_; ++d) {
    weights_[d] = all[radius_ + d] / sum;
    // scipy's filter is the derivative itself, correlated after it is turned round: the part before the centre has the
    // weight -d / sigma^2.
    if (odd_) weights_[d] *= -static_cast<double>(d) / (sigma * sigma);
  }
}

void filter_planes(const GaussianFilter& down, const GaussianFilter& along, const double* planes, std::int64_t count,
                   std::int64_t h, std::int64_t w, double* out) {
  const FelzenszwalbKernels& kernels = felzenszwalb_kernels();
  const Scratch<double> middle(static_cast<std::size_t>(count * h * w));
  const RowFilter column_filter{down.weights(), down.radius(), down.odd()};
  const RowFilter row_filter{along.weights(), along.radius(), along.odd()};
  parallel_for(count * h, kBand, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t r = down.radius();
    const Scratch<const double*> rows(static_cast<std::size_t>(2 * r + 1));
    for (std::int64_t row = begin; row < end; ++row) {
      const double* plane = planes + row / h * h * w;
      for (std::int64_t d = -r; d <= r; ++d) rows[d + r] = plane + reflected(row % h + d, h) * w;
      kernels.filter_row(column_filter, rows.data(), w, middle.data() + row * w);
    }
  });
  parallel_for(count * h, kBand, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t r = along.radius();
    const Scratch<const double*> rows(static_cast<std::size_t>(2 * r + 1));
    const Scratch<double> padded(static_cast<std::size_t>(w + 2 * r));
    for (std::int64_t d = 0; d <= 2 * r; ++d) rows[d] = padded.data() + d;
    for (std::int64_t row = begin; row < end; ++row) {
      const double* from = middle.data() + row * w;
      for (std::int64_t x = 0; x < w; ++x) padded[r + x] = from[x];
      for (std::int64_t d = 1; d <= r; ++d) {
        padded[r - d] = from[reflected(-d, w)];
        padded[r + w - 1 + d] = from[reflected(w - 1 + d, w)];
      }
      kernels.filter_row(row_filter, rows.data(), w, out + row * w);
    }
  });
}

}  // namespace saccade
