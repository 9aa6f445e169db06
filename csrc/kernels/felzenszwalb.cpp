// Rows of a Gaussian filter and edge weights in float64, a register of columns at a time: every output is made of the
// same sums in the same order at every width of the registers.
#include "kernels/felzenszwalb.h"

#include "isa/simd.h"

namespace saccade::SACCADE_ISA {
namespace {

using V = Vec<double>;
constexpr int kWidth = kLanes<double>;

template <bool kOdd>
SACCADE_HD void filter(const RowFilter& filter, const double* const* rows, std::int64_t n, double* out) {
  const std::int64_t r = filter.radius;
  std::int64_t x = 0;
  for (; x + kWidth <= n; x += kWidth) {
    V sum = load<V>(rows[r] + x) * splat<V>(filter.weights[0]);
    for (std::int64_t d = r; d > 0; --d) {
      const V before = load<V>(rows[r - d] + x), behind = load<V>(rows[r + d] + x);
      sum += (kOdd ? before - behind : before + behind) * splat<V>(filter.weights[d]);
    }
    store<V>(out + x, sum);
  }
  for (; x < n; ++x) {
    double sum = rows[r][x] * filter.weights[0];
    for (std::int64_t d = r; d > 0; --d) {
      const double before = rows[r - d][x], behind = rows[r + d][x];
      sum += (kOdd ? before - behind : before + behind) * filter.weights[d];
    }
    out[x] = sum;
  }
}

void filter_row(const RowFilter& row_filter, const double* const* rows, std::int64_t n, double* out) {
  if (row_filter.odd)
    filter<true>(row_filter, rows, n, out);
  else
    filter<false>(row_filter, rows, n, out);
}

// The compiler makes registers of these loops; a row of out stays in the first-level cache between the channels.
void edge_row(const double* a, const double* b, std::int64_t channels, std::int64_t plane, std::int64_t n,
              double* SACCADE_RESTRICT out) {
  for (std::int64_t x = 0; x < n; ++x) out[x] = (a[x] - b[x]) * (a[x] - b[x]);
  for (std::int64_t c = 1; c < channels; ++c) {
    a += plane, b += plane;
    for (std::int64_t x = 0; x < n; ++x) out[x] += (a[x] - b[x]) * (a[x] - b[x]);
  }
  for (std::int64_t x = 0; x < n; ++x) out[x] = __builtin_sqrt(out[x]);
}

}  // namespace

const FelzenszwalbKernels felzenszwalb_kernels = {filter_row, edge_row};

}  // namespace saccade::SACCADE_ISA
