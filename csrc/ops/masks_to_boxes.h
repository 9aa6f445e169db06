// Bounding boxes of masks: masks (n, h, w) of any dtype -> boxes (n, 4) float32.
//
// A box is x1, y1, x2, y2 of the outermost pixels that are not zero, both inclusive (torchvision.ops.masks_to_boxes):
// one pixel gives x1 == x2. NaN is not zero, -0 is. A mask without such a pixel gives 0, 0, 0, 0. Rows must be dense.
#pragma once

#include "common/tensor_view.h"

namespace saccade {

void check_masks_to_boxes(const TensorView& masks);
void masks_to_boxes(const TensorView& masks, const TensorView& boxes);

}  // namespace saccade
