// In each row of each of several arrays, the best values above a threshold.
//
// sections: (n, r) each, float32 or float64, one dtype, C-contiguous; together they are the columns of one matrix,
// which need not exist. A row of a section gives its `most` greatest values above the threshold, in descending order,
// ties to the lower index; NaN is never above. One pass over the values, at the rate of memory where few are above.
#pragma once

#include <vector>

#include "common/tensor_view.h"

namespace saccade {

// Row after row, section after section.
struct BestAbove {
  std::vector<double> value;
  std::vector<std::int64_t> row, column;  // of the whole matrix
};

void check_best_above(const std::vector<TensorView>& sections, std::int64_t most);
BestAbove best_above(const std::vector<TensorView>& sections, double threshold, std::int64_t most);

}  // namespace saccade
