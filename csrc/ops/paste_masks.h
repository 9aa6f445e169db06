// Masks (n, side, side) put into empty images: out (n, height, width), zero outside the boxes.
//
// corners (n, 4), int64: the first column and row, and the last ones, inclusive; they may lie outside the image. A mask
// is stretched over its box, values between the centres of cells are bilinear, beyond the outer centres constant
// (torch's interpolation without aligned corners). float32 or float64, C-contiguous; sides of at least one cell.
#pragma once

#include "common/tensor_view.h"

namespace saccade {

void check_paste_masks(const TensorView& masks, const TensorView& corners, std::int64_t height, std::int64_t width);
void paste_masks(const TensorView& masks, const TensorView& corners, const TensorView& out);

}  // namespace saccade
