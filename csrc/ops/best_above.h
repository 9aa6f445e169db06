// In each section of each row, the best values above a threshold.
//
// values (n, r), float32 or float64, C-contiguous; each row is cut into sections of the given lengths, which add up to
// r. A section gives its `most` greatest values above the threshold, in descending order, ties to the lower index; NaN
// is never above. One pass over the values, at the rate of memory where few are above.
#pragma once

#include <vector>

#include "common/tensor_view.h"

namespace saccade {

struct BestAbove {
  std::vector<std::int64_t> index;   // into all n * r values, section after section
  std::vector<std::int64_t> counts;  // of each section, n * sections
};

void check_best_above(const TensorView& values, const std::vector<std::int64_t>& sections, std::int64_t most);
BestAbove best_above(const TensorView& values, const std::vector<std::int64_t>& sections, double threshold,
                     std::int64_t most);

}  // namespace saccade
