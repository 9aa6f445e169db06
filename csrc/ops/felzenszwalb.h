// Graph-based segmentation (Felzenszwalb and Huttenlocher, Efficient graph-based image segmentation, IJCV 2004).
//
// Pixels are joined to their eight neighbours by edges of weight |p - q|, the Euclidean distance of the smoothed
// colours. Edges are taken by ascending weight (equal ones: to the right, down, down-right, up-right, each in row-major
// order of the pixel they start from); one joins two regions if its weight is less than both
// Int(R) + scale / |R|, Int being the heaviest edge that joined R. Then edges are taken once more in the same order and
// join every region of fewer than min_size pixels with its neighbour. Rules and numbers are scikit-image's: float64,
// images of integers divided by their maximum, `scale` in units of 1 / 255, the filter of scipy.
#pragma once

#include <cstdint>

#include "common/scratch.h"
#include "common/tensor_view.h"

namespace saccade {

struct FelzenszwalbOptions {
  double scale, sigma;
  std::int64_t min_size;
};

// image: (h, w, c), uint8, float32 or float64, any strides; finite.
void check_felzenszwalb(const TensorView& image, const FelzenszwalbOptions&);

// The edges of an image by ascending weight; several segmentations share them.
class SortedEdges {
 public:
  // planes: (channels, h, w), smoothed.
  SortedEdges(const double* planes, std::int64_t channels, std::int64_t h, std::int64_t w);

  // Segments; labels (h * w) count from 0 in the order of the regions' first pixels. Returns their number.
  // `scale` is not divided by 255 here.
  std::int64_t segment(double scale, std::int64_t min_size, std::int32_t* labels) const;

 private:
  std::int64_t h_, w_, count_;
  Scratch<double> weights_;        // in the order of the edges
  Scratch<std::uint32_t> sorted_;  // 4 * pixel + direction
};

// labels: int64 (h, w), C-contiguous.
void felzenszwalb(const TensorView& image, const FelzenszwalbOptions&, const TensorView& labels);

}  // namespace saccade
