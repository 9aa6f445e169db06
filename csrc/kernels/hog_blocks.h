// Kernels of the HOG descriptor (csrc/ops/hog_blocks.h): rows of pixels, their votes, and the histograms of blocks.
//
// Columns are sorted by their place between the corners of blocks: a row is `phases` runs of `stride` floats, and
// pixel x = phases * lane + phase stands at phase * stride + kHogMargin + lane. So lanes of a register belong to
// neighbouring blocks, and all have the same weights.
#pragma once

#include <cstdint>

#include "isa/isa.h"

namespace saccade {

constexpr int kHogMargin = 16;   // the pixel left of lane 0 is lane -1
constexpr int kHogRows = 4;      // rows that vote at a time
constexpr int kHogTargets = 3;   // rows of cells that they vote for at a time
constexpr int kHogChannels = 3;  // at most

struct HogVotes {
  const float* rows[kHogChannels][kHogRows + 2];  // with the row above and the row below
  int channels;
  std::int64_t phases, stride, lanes;
  int bins;
  float per_radian;  // bins per radian
  bool full_circle;  // angles of 360 degrees, otherwise of 180
  int targets;
  float weights[kHogTargets][kHogRows];
  float* sums[kHogTargets];  // [bins][phases][stride]; added to
};

// The blocks with their upper edge on one row of the grid, all of them.
struct HogBlockRow {
  const float* const* sums;  // of each row of cells, [bins][phases][stride]
  int cell_rows, cell_columns, bins;
  std::int64_t phases, stride, lanes;
  const float* weights;         // [cell_columns][width of a block]
  const std::int32_t* taps;     // [cell_columns][2]: the columns of a block where they are not zero, [first, end)
  const std::int64_t* offsets;  // where each column of the block of lane 0 stands in a row
  std::int64_t width;           // of a block
  float threshold;              // no value of the normalised histogram is larger before the second normalisation
  float* planes;                // [cell_columns][cell_rows][bins][plane]
  std::int64_t plane;
};

// Writes that follow each other, where `around` past the caches.
struct HogAppend {
  float* to;
  bool around;
  float waiting[16];  // less than a register that will follow
  int count;
};

struct HogBlockKernels {
  // The square root where `root`, for `count` pixels.
  void (*floats)(const std::uint8_t* pixels, std::int64_t count, bool root, float* out);
  void (*vote)(const HogVotes& v);
  void (*blocks)(const HogBlockRow& row);
  // Call it with no floats at the end.
  void (*append)(HogAppend& a, const float* from, std::int64_t count);
};
SACCADE_KERNELS(HogBlockKernels, hog_block_kernels)

}  // namespace saccade
