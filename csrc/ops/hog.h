// Histograms of oriented gradients as scikit-image's hog computes them.
//
// The gradient is the difference of the two neighbours, 0 across the image's border; of several channels the one with
// the longest, of equal ones the first. Its orientation, modulo 180 degrees, falls into one of `bins` equal ranges. A
// cell's histogram holds the mean lengths: added up row by row in float32 and divided by its area, as there. A block's
// values are in the order row, column, bin; blocks overlap by all but one cell.
// A NaN gradient is in all bins; one that rounding puts at 180 degrees is in none.
#pragma once

#include <cstdint>
#include <vector>

#include "common/tensor_view.h"
#include "kernels/hog.h"
#include "math/hog.h"

namespace saccade {

struct HogCells {
  std::int64_t bins = 9;
  std::int64_t cell[2] = {8, 8};   // rows, columns of pixels
  std::int64_t block[2] = {3, 3};  // rows, columns of cells
};

// image: (C, H, W) where `ndim` is 3, (N, C, H, W) where it is 4; uint8, float32 or float64.
void check_hog(const TensorView& image, int ndim, const HogCells& cells, HogNorm norm);

// Of one image: planes (C, H, W), C-contiguous; histogram: float64 (H / cell, W / cell, bins), C-contiguous.
void hog_histogram(const TensorView& planes, const HogCells& cells, const TensorView& histogram);

// blocks: (rows, columns, block rows, block columns, bins), C-contiguous float32 or float64.
void hog_blocks(const TensorView& histogram, const HogCells& cells, HogNorm norm, const TensorView& blocks);

// Of images (N, C, H, W): (N, rows, columns, block rows, block columns, bins).
std::vector<std::int64_t> hog_shape(const TensorView& images, const HogCells& cells);

// images: C-contiguous; blocks: of hog_shape, C-contiguous float32 for float32 images, otherwise float64.
void hog(const TensorView& images, const HogCells& cells, HogNorm norm, const TensorView& blocks);

}  // namespace saccade
