// Where the windows of the HOG descriptor stand, and what detection on every device shares.
#pragma once

#include "ops/hog_blocks.h"
#include "ops/hog_descriptor.h"

namespace saccade {

struct HogPlacement {
  HogSize stride, step, padding;       // between windows, between blocks of the grid, on each side
  std::int64_t columns = 0, rows = 0;  // of windows; 0 where the image does not hold one

  // The blocks of all windows; only where there are any.
  HogGrid grid(const HogGeometry& geometry, HogSize image, std::int64_t width, std::int64_t height) const;
};

HogPlacement place_windows(const HogGeometry& geometry, const HogOptions& options, std::int64_t width,
                           std::int64_t height);

// A score is the constant term, in double, and one float32 sum for each so many rows of the grid, in which a row of the
// window's blocks adds its own sum.
constexpr std::int64_t kHogBand = 32;

struct HogLevel {
  double scale;
  HogPlacement placement;
  HogGrid grid;
};

// The levels that hold windows, largest image first; `one`: the image's own size only.
std::vector<HogLevel> hog_levels(const HogGeometry& geometry, HogSize image, const HogOptions& options, bool one);

void check_hog_detection(const char* op, const HogDescriptor& descriptor, const TensorView& image,
                         const HogOptions& options);

// The hits of each level as rectangles of the image, grouped and clipped.
HogDetections hog_detections(const HogGeometry& geometry, HogSize image, const std::vector<HogLevel>& levels,
                             const std::vector<std::vector<HogHit>>& hits, std::int64_t min_neighbors);

}  // namespace saccade
