// The HOG descriptor and detector of OpenCV's cv2.HOGDescriptor.
//
// Images are uint8, grey (H, W) or with three channels (H, W, 3). A pixel's gradient is the central difference, of the
// square roots of the values with `gamma`, over the image mirrored about its border pixels; of three channels the one
// with the largest gradient, of equal ones the first. Its magnitude is shared between the two nearest of `bins`
// orientations, whose centres are at (b + 1/2) turns / bins, and in a block between the nearest cells; votes beyond the
// block's outer cells are lost. A Gaussian weighs them about the pixel at half the block's size. The histogram, ordered
// by column of cells, row, bin, is divided by its length + 0.1 n (n values), cut at the threshold, and divided by its
// length + 0.001. A descriptor holds the window's blocks, ordered by column, then row.
// Everything in float32, the angle by OpenCV's approximation: descriptors agree with it to 2e-6, scores to 2e-5.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/tensor_view.h"
#include "ops/group_rectangles.h"

namespace saccade {

struct HogSize {
  std::int64_t width = 0, height = 0;
};

struct HogGeometry {
  HogSize window, block, stride, cell;
  std::int64_t bins = 9;
  double sigma = -1;  // negative: an eighth of the sum of the block's sides
  double threshold = 0.2;
  bool gamma = true, full_circle = false;
  std::int64_t levels = 64;

  std::int64_t cells_across() const { return block.width / cell.width; }
  std::int64_t cells_down() const { return block.height / cell.height; }
  std::int64_t values() const { return bins * cells_across() * cells_down(); }  // of a block
  std::int64_t blocks_across() const { return (window.width - block.width) / stride.width + 1; }
  std::int64_t blocks_down() const { return (window.height - block.height) / stride.height + 1; }
  std::int64_t size() const { return values() * blocks_across() * blocks_down(); }
};

void check_hog_geometry(const HogGeometry& geometry);

struct HogOptions {
  HogSize stride;   // between windows; 0: a cell
  HogSize padding;  // on each side; rounded up to the spacing of blocks
  double hit_threshold = 0;
  double scale = 1.05;
  std::int64_t min_neighbors = 2;
};

void check_hog_image(const char* op, const TensorView& image);

struct HogHit {
  std::int32_t x, y;
  double score;
};

struct HogDetections {
  std::vector<Rectangle> boxes;
  std::vector<double> scores;
};

class HogDescriptor {
 public:
  explicit HogDescriptor(const HogGeometry& geometry);
  // With a linear classifier: float32 coefficients, as many as a descriptor has values or one more, the constant term.
  HogDescriptor with_svm(std::vector<float> coefficients) const;

  const HogGeometry& geometry() const { return geometry_; }
  const std::vector<float>& coefficients() const { return coefficients_; }

  // Where windows stand, row by row, relative to the image; `locations` int64 (N, 2) or of no dtype: a grid.
  std::vector<HogHit> windows(const char* op, const TensorView& image, const HogOptions& options,
                              const TensorView& locations) const;
  // The descriptors of those windows: out has as many times size() floats.
  void compute(const TensorView& image, const HogOptions& options, const TensorView& locations,
               const std::vector<HogHit>& windows, float* out) const;
  // Windows with scores of at least hit_threshold, row by row.
  std::vector<HogHit> detect(const TensorView& image, const HogOptions& options) const;
  // The same on images of falling size, merged as OpenCV does, clipped to the image.
  HogDetections detect_multi_scale(const char* op, const TensorView& image, const HogOptions& options) const;

 private:
  HogGeometry geometry_;
  std::vector<float> coefficients_;
};

}  // namespace saccade
