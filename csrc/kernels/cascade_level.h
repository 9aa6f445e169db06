// Kernels of cascade detection (csrc/ops/cascade.h): one row of a level's image, and of its integral images.
#pragma once

#include <cstdint>

#include "isa/isa.h"

namespace saccade {

struct CascadeIntegralRow {
  const std::uint8_t* pixels;
  const std::uint8_t* pixels_above;  // tilted only
  std::int64_t width;                // of the image; a row has width + 1 columns
  std::int64_t step, half;           // columns as in CascadeLayout
  std::int64_t squares, tilted;      // offsets inside a row; 0: not wanted
  const std::uint32_t* above;        // the rows before; `above2` for tilted only
  const std::uint32_t* above2;
  std::uint32_t* row;
};

struct CascadeLevelKernels {
  // weights[0] * above + weights[1] * below, in 8.8 bits, each element beside its right neighbour (the higher half).
  void (*blend_rows)(const std::uint8_t* above, const std::uint8_t* below, std::int32_t weight_below,
                     std::int64_t width, std::uint32_t* pairs);
  // (pairs * weights + 2^15) >> 16
  void (*sample_row)(const std::uint32_t* pairs, const std::int32_t* index, const std::int32_t* weight,
                     std::int64_t width, std::uint8_t* out);
  void (*integral_row)(const CascadeIntegralRow& r);
  // Luma of interleaved RGB: (9798 R + 19235 G + 3735 B + 2^14) >> 15.
  void (*grey_row)(const std::uint8_t* rgb, std::int64_t pixel_stride, std::int64_t channel_stride, std::int64_t width,
                   std::uint8_t* out);
};
SACCADE_KERNELS(CascadeLevelKernels, cascade_level_kernels)

}  // namespace saccade
