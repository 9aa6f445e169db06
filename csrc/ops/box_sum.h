// Sums over rectangles, from an integral image: box_sum(integral, boxes) -> sums.
//
// integral (..., H + 1, W + 1): padded layout (csrc/ops/integral_image.h); int32, int64, float32, float64. boxes (n,
// 4): int32 or int64 x1, y1, x2, y2, the pixels x1 <= x < x2, y1 <= y < y2; the same boxes for every image of the
// batch. sums (..., n) of the integral's dtype: ((I(y2, x2) - I(y1, x2)) - I(y2, x1)) + I(y1, x1); integers wrap.
// Pixels outside the image count as zeros: boxes are clipped. A box with x2 <= x1 or y2 <= y1 is empty: 0.
#pragma once

#include <cstdint>
#include <vector>

#include "common/tensor_view.h"

namespace saccade {

void check_box_sum(const char* op, const TensorView& integral, const TensorView& boxes);
std::vector<std::int64_t> box_sum_shape(const TensorView& integral, const TensorView& boxes);

// `sums`: C-contiguous.
void box_sum(const TensorView& integral, const TensorView& boxes, const TensorView& sums);

// grad_sums (..., n), float32 or float64, to grad_integral (..., H + 1, W + 1), C-contiguous: boxes in order.
void box_sum_backward(const TensorView& grad_sums, const TensorView& boxes, const TensorView& grad_integral);

}  // namespace saccade
