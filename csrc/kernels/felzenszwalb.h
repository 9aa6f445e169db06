// Kernels of felzenszwalb (csrc/ops/felzenszwalb.h): rows of a Gaussian filter, and the weights of a grid's edges.
#pragma once

#include <cstdint>

#include "isa/isa.h"

namespace saccade {

// A filter of radius r as weights[0..r] of the distances 0..r. Odd: the weights of what lies before the centre are
// taken as given, of what lies behind it negated (a derivative); even: both as given.
struct RowFilter {
  const double* weights;
  std::int64_t radius;
  bool odd;
};

struct FelzenszwalbKernels {
  // out[x] = w[0] rows[r][x] + sum over d = r .. 1 of w[d] (rows[r - d][x] +- rows[r + d][x]), in this order: that of
  // scipy.ndimage.correlate1d. rows: 2 r + 1 pointers; for a filter along a row they point into the same one.
  void (*filter_row)(const RowFilter&, const double* const* rows, std::int64_t n, double* out);
  // out[x] = sqrt(sum over the channels of (a[x] - b[x])^2); the planes of a channel are `plane` elements apart.
  void (*edge_row)(const double* a, const double* b, std::int64_t channels, std::int64_t plane, std::int64_t n,
                   double* out);
};
SACCADE_KERNELS(FelzenszwalbKernels, felzenszwalb_kernels)

}  // namespace saccade
