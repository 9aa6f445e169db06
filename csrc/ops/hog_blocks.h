// The block histograms of one image or level, row by row: what descriptors and detection share.
#pragma once

#include <cstdint>
#include <vector>

#include "common/scratch.h"
#include "kernels/hog_blocks.h"
#include "ops/hog_descriptor.h"

namespace saccade {

// A uint8 image as planes with contiguous rows, borrowed or copied.
class HogImage {
 public:
  explicit HogImage(const TensorView& image);
  const std::uint8_t* row(int channel, std::int64_t y) const { return planes_[channel] + y * stride_; }
  HogSize size() const { return {width, height}; }
  std::int64_t width = 0, height = 0;
  int channels = 1;

 private:
  const std::uint8_t* planes_[kHogChannels] = {};
  std::int64_t stride_ = 0;
  std::vector<std::uint8_t> copy_;
};

// A grid of blocks on an image, resized to `width` x `height`. Block (0, 0) has its corner at (x, y).
struct HogGrid {
  HogGrid(HogSize image, std::int64_t width, std::int64_t height);
  std::int64_t width, height;
  std::int64_t x = 0, y = 0;
  std::int64_t columns = 0, rows = 0;
  // Where the pixels of a row and a column read in the image (linear_exact).
  std::vector<std::int32_t> column_index, column_weight, row_index, row_weight;
};

// What depends on the geometry and the spacing of the blocks only.
struct HogPlan {
  HogPlan(const HogGeometry& geometry, HogSize step);
  HogGeometry geometry;
  HogSize step;
  float per_radian;                                // bins
  std::vector<float> column_weights, row_weights;  // [cells][size of a block]
  std::vector<std::int32_t> column_taps, row_taps;
};

// Rows of a grid, for one thread. Its memory serves grids of at most `columns` blocks in a row.
class HogStrip {
 public:
  HogStrip(const HogPlan& plan, const HogImage& image, std::int64_t columns);

  // For rows [first, end) of blocks; borrows the grid.
  void start(const HogGrid& grid, std::int64_t first, std::int64_t end);
  // The histograms of the next row of blocks: planes()[value * plane() + column].
  void next();
  const float* planes() const { return planes_.data(); }
  std::int64_t plane() const { return plane_; }

 private:
  void fill(std::int64_t y);
  void vote(std::int64_t y);
  const float* row(int channel, std::int64_t y) const;
  float* slot(std::int64_t block_row, std::int64_t cell_row) const;

  const HogPlan& plan_;
  const HogImage& image_;
  const HogBlockKernels& kernels_;
  std::int64_t lanes_ = 0, stride_, width_, plane_,
               ring_;  // lanes of the grid; floats in a phase, in a row, of a plane
  Scratch<float> pixels_, sums_, planes_;
  Scratch<std::uint8_t> bytes_;
  Scratch<std::uint32_t> pairs_;
  std::vector<std::int32_t> index_, weight_;  // of this grid's columns, lanes -1 to lanes_ of each phase
  std::vector<std::int64_t> offsets_;
  const HogGrid* grid_ = nullptr;
  std::int64_t block_row_ = 0, end_ = 0, voted_ = 0, filled_ = 0;  // rows of blocks; of pixels
};

}  // namespace saccade
