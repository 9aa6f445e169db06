// Maximum pooling of regions (Girshick, Fast R-CNN, 2015, section 2.1): roi_pool(input, rois) -> output, argmax.
//
// input (n, c, h, w), contiguous or channels_last; rois (k, 5) as in ops/roi.h. Output (k, c, pooled_h, pooled_w) in
// the same memory format, and where each maximum is: row * w + column, int32, -1 where a bin has no cell or none above
// -FLT_MAX. Semantics of torchvision.ops.roi_pool: coordinates are scaled and rounded half away from zero, the end
// belongs to the region, a region has at least one cell, bins overlap; an empty bin is zero; the first of equal maxima
// in row order wins; NaN is never a maximum.
#pragma once

#include <cstdint>

#include "common/tensor_view.h"

namespace saccade {

void check_roi_pool(const TensorView& input, const TensorView& rois, double spatial_scale, std::int64_t pooled_h,
                    std::int64_t pooled_w);

void roi_pool(const TensorView& input, const TensorView& rois, double spatial_scale, const TensorView& out,
              const TensorView& argmax);

// grad and argmax in the memory format of grad_input, every element of which is written. Regions are summed in one
// order whatever the number of threads.
void check_roi_pool_backward(const TensorView& grad, const TensorView& rois, const TensorView& argmax,
                             const TensorView& grad_input);
void roi_pool_backward(const TensorView& grad, const TensorView& rois, const TensorView& argmax, double spatial_scale,
                       const TensorView& grad_input);

}  // namespace saccade
