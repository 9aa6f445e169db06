// CUDA kernels of hog_descriptors and hog_detect (csrc/ops/hog_descriptor.h).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace saccade::cuda {

// A grid of blocks on an image, or on a level of it.
struct HogPlace {
  std::int32_t width, height;                // of the level's image
  std::int32_t x, y;                         // of the corner of block (0, 0)
  std::int32_t columns, rows;                // of blocks
  std::int32_t vote_width, vote_height;      // of the pixels that blocks cover
  std::int32_t window_columns, window_rows;  // hog_detect only
  std::int64_t table;        // column index (width), column weight (width), row index (height), row weight (height)
  std::int64_t first_pixel;  // of its image among all pixels of the group; and so on
  std::int64_t first_vote, first_line, first_block, first_window;
};

// Grids that go through every kernel together; pointers are the device's.
struct HogGroup {
  const HogPlace* places;
  std::int64_t place_count;
  std::int64_t pixels, votes, lines, blocks,
      windows;  // of all; a line is a column of a row of cells of a row of blocks

  const std::uint8_t* image;  // [height][width][channels]
  std::int64_t image_width, image_height;
  std::int32_t channels;
  const std::int32_t* tables;

  std::int32_t bins, values, cells_across, cells_down;  // values: of a block
  std::int32_t block_width, block_height, step_x, step_y;
  bool gamma, full_circle;
  float per_radian, threshold;
  const float *column_weights, *row_weights;   // [cells][size of a block]
  const std::int32_t *column_taps, *row_taps;  // [cells][2]

  float* levels;          // for each place [channels][height][width]
  float *first, *second;  // of votes: the share of a bin and that of the next
  std::uint8_t* bin;      // the first
  float* sums;            // [rows][cells_down][bins][vote_width]
  float* histograms;      // planar: [rows][values][columns], otherwise [columns][rows][values]
  bool planar;
};

// Windows of the grid of one place, its blocks not planar.
struct HogGather {
  std::int64_t windows, columns, rows;  // of windows; of blocks in a column of the grid
  std::int64_t window_columns;
  std::int32_t size, blocks_down, values;
  std::int32_t window_step_x, window_step_y, block_step_x, block_step_y;  // in blocks of the grid
};

struct HogSearch {
  const float* coefficients;
  double constant, threshold;
  std::int32_t blocks_across, blocks_down;
  std::int32_t window_step_x, window_step_y, block_step_x, block_step_y;  // in blocks of the grid
  std::int64_t* windows;  // that score at least the threshold, in no order; room for all
  double* scores;
  unsigned long long* count;
};

// The images of all places as floats.
void launch_hog_levels(const HogGroup& group, cudaStream_t stream);
// The normalised histograms of all blocks. Votes and sums are working memory.
void launch_hog_blocks(const HogGroup& group, cudaStream_t stream);
// out (windows, size)
void launch_hog_gather(const float* histograms, const HogGather& gather, float* out, cudaStream_t stream);
// Histograms are planar.
void launch_hog_search(const HogGroup& group, const HogSearch& search, cudaStream_t stream);

}  // namespace saccade::cuda
