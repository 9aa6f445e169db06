// Mean filter: box_filter(image, rows, columns) -> the mean over the rectangle around each pixel, as cv2.blur and
// scipy.ndimage.uniform_filter(mode="mirror"): it covers rows / 2 pixels above and (rows - 1) / 2 below, the same
// across; beyond the edge the image is reflected without repeating the edge pixel.
//
// image (..., H, W): uint8, float32, float64; output the same. uint8: exact mean, rounded to nearest, halves up (cv2
// is off by one for areas that are powers of two, and rounds halves to even for areas above 256). Floats are summed in
// float64, columns first. A NaN or infinite pixel spoils the outputs whose rectangle holds it, and no others.
#pragma once

#include <cstdint>

#include "common/tensor_view.h"

namespace saccade {

constexpr std::int64_t kMaxBoxSide = 4095;  // 255 * 4095^2 < 2^32

void check_box_filter(const char* op, const TensorView& image, std::int64_t rows, std::int64_t columns);

// `out`: C-contiguous, of the shape and dtype of the image.
void box_filter(const TensorView& image, std::int64_t rows, std::int64_t columns, const TensorView& out);

}  // namespace saccade
