// Where the windows of the HOG descriptor stand.
#pragma once

#include "ops/hog_blocks.h"
#include "ops/hog_descriptor.h"

namespace saccade {

struct HogPlacement {
  HogSize stride, step, padding;       // between windows, between blocks of the grid, on each side
  std::int64_t columns = 0, rows = 0;  // of windows; 0 where the image does not hold one

  // The blocks of all windows; only where there are any.
  HogGrid grid(const HogGeometry& geometry, const HogImage& image, std::int64_t width, std::int64_t height) const;
};

HogPlacement place_windows(const HogGeometry& geometry, const HogOptions& options, std::int64_t width,
                           std::int64_t height);

}  // namespace saccade
