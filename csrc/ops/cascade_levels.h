// The levels of cascade detection: which scales are searched, and their images resized and integrated strip by strip.
#pragma once

#include <cstdint>
#include <vector>

#include "common/scratch.h"
#include "common/tensor_view.h"
#include "kernels/cascade_level.h"
#include "ops/cascade_plan.h"

namespace saccade {

struct CascadeOptions {
  double scale_factor = 1.1;
  std::int64_t min_neighbors = 3;
  std::int64_t min_size[2] = {0, 0};  // width, height; not negative
  std::int64_t max_size[2] = {0, 0};  // 0: the image's size
};

// OpenCV's INTER_LINEAR_EXACT in one direction: where each of `size` samples reads in `source` elements, and the
// weight, out of 256, of the element behind.
void linear_exact(std::int64_t source, std::int64_t size, std::vector<std::int32_t>& index,
                  std::vector<std::int32_t>& weight);

// A uint8 image whose rows are contiguous, borrowed or converted.
struct GreyImage {
  explicit GreyImage(const TensorView& image);
  const std::uint8_t* row(std::int64_t y) const { return data + y * stride; }
  std::int64_t width = 0, height = 0, stride = 0;
  const std::uint8_t* data = nullptr;

 private:
  std::vector<std::uint8_t> copy_;
};

struct CascadeLevel {
  float scale;
  std::int64_t step;                                // between windows, in pixels of the level
  std::int64_t width, height;                       // of the level's image
  std::int64_t columns, rows;                       // of windows
  std::vector<std::int32_t> index, weight;          // horizontal interpolation, of each column
  std::vector<std::int32_t> row_index, row_weight;  // vertical
};

// The levels searched, largest image first. Throws ValueError for a scale factor that gives absurdly many.
std::vector<CascadeLevel> cascade_levels(const CascadeModel& model, std::int64_t width, std::int64_t height,
                                         const CascadeOptions& options);

// uint8 `image` (H, W) resized to the contiguous (height, width) of `out`: cv2.resize with INTER_LINEAR_EXACT, bit for
// bit. Throws ValueError and TypeError for what is not such an image.
void check_resize_linear_exact(const TensorView& image, std::int64_t width, std::int64_t height);
void resize_linear_exact(const TensorView& image, const TensorView& out);

// A moving strip of a level's integral image: rows are made on demand, and the ones above are dropped, so that
// everything the windows read stays in the second-level cache.
class CascadeStrip {
 public:
  // Room for windows of `window_height` rows on images of `max_width` pixels.
  CascadeStrip(const CascadeLayout& layout, std::int64_t window_height, std::int64_t max_width);

  // Begins at row `y` of the level.
  void start(const GreyImage& image, const CascadeLevel& level, std::int64_t y);
  // Row y of the integral image, its origin at the row that the strip began with; the rows down to y + window_height
  // follow. y must not decrease.
  const std::uint32_t* window_row(std::int64_t y);

 private:
  void make_row();
  const std::uint8_t* level_row(std::int64_t y, std::uint8_t* buffer);
  std::uint32_t* slot(std::int64_t y) const { return rows_.data() + (y - top_) * layout_.row; }

  CascadeLayout layout_;
  std::int64_t window_height_, capacity_;
  Scratch<std::uint32_t> rows_;
  Scratch<std::uint32_t> pairs_;
  Scratch<std::uint8_t> pixels_[2];
  const GreyImage* image_ = nullptr;
  const CascadeLevel* level_ = nullptr;
  std::int64_t top_ = 0, next_ = 0;  // the rows held are [top_, next_)
  const std::uint8_t* last_pixels_ = nullptr;
};

}  // namespace saccade
