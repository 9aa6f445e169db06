// CUDA kernels of cascade_detect (csrc/ops/cascade.h): the windows of some levels of one image through all stages.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cascade.h"

namespace saccade::cuda {

struct CascadeLevelPlace {
  std::int32_t width, height;  // of the level's image
  std::int32_t columns, rows;  // of windows
  std::int32_t step;
  std::int64_t table;         // index (width), weight (width), row index (height), row weight (height) begin here
  std::int64_t first_row;     // of its integral image, of height + 1 rows, among all rows of the group
  std::int64_t first_window;  // among all windows of the group
};

// Levels that are searched together; pointers are the device's. Rows of integral images are laid out by CascadeLayout.
struct CascadeGroup {
  const CascadeLevelPlace* levels;
  std::int64_t level_count, rows, windows;
  std::int64_t max_width, max_height;  // of the levels' images

  const std::uint8_t* image;
  std::int64_t image_width, image_height;
  const std::int32_t* tables;  // of interpolation

  std::int64_t row, squares, tilted;  // tilted: 0 unless wanted
  std::uint32_t* integral;            // rows x row
  std::uint8_t* pixels;               // rows x max_width, tilted only
};

// Windows that passed some stages, in no order.
struct CascadeList {
  std::int64_t* windows;
  unsigned long long* count;
};
constexpr int kCascadeLists = 34;  // at most so many, of which each has its own count

struct CascadeSearch {
  std::uint8_t* state;         // of each window
  std::int64_t* windows[2];    // room for all
  unsigned long long* counts;  // (kCascadeLists)
  double* scores;              // of the hits
};

// Finds the windows that pass all stages: their list and, beside it, the sums of the last stage.
CascadeList launch_cascade(const CascadeGroup& group, const CascadePlan& plan, const CascadeSearch& search,
                           cudaStream_t stream);

}  // namespace saccade::cuda
