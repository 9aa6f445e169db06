// Integral images: integral_image(image) -> sum, and on demand the sums of squares and of tilted rectangles.
//
// sum(Y, X) adds the pixels (x, y) with x < X and y < Y; square adds their squares; tilted(Y, X) adds the pixels with
// y < Y and |x - (X - 1)| <= Y - 1 - y, the triangle above a point that cv2.integral3 adds (Lienhart and Maydt 2002).
// Padded layout (height + 1, width + 1), as OpenCV's: row and column 0 stand. Inclusive layout (height, width): they do
// not, as scikit-image's.
//
//   image            sum, tilted   square
//   bool, uint8      int32         float64      integers wrap modulo 2^32 (2^64): differences of sums are right
//   int32            int64         float64      as long as the true difference fits
//   float32, 64      float64       float64
//
// Rows are added from left to right and then columns from the top: sum and square equal
// np.cumsum(np.cumsum(image, 1), 0) bit for bit, for any number of threads. NaN and Inf spread to every sum behind
// them.
#pragma once

#include <cstdint>
#include <vector>

#include "common/tensor_view.h"

namespace saccade {

// Leading dimensions are a batch.
void check_integral_image(const char* op, const TensorView& image);
DType integral_dtype(DType image);
std::vector<std::int64_t> integral_shape(const TensorView& image, bool padded);

// Outputs are C-contiguous, of integral_shape; `square` and `tilted` are filled where they have a dtype
// (kUnsupported: not wanted).
void integral_image(const TensorView& image, bool padded, const TensorView& sum, const TensorView& square,
                    const TensorView& tilted);

// For detectors: one uint8 image into the caller's padded planes, (height + 1) rows `stride` elements apart.
// The calling thread does all the work. `square` is modulo 2^32; it and `tilted` may be null.
struct IntegralPlanes {
  std::int32_t* sum = nullptr;
  std::uint32_t* square = nullptr;
  std::int32_t* tilted = nullptr;
  std::int64_t stride = 0;
};
void integral_planes(const std::uint8_t* image, std::int64_t image_stride, std::int64_t height, std::int64_t width,
                     const IntegralPlanes& planes);

}  // namespace saccade
