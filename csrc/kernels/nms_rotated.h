// Kernels of nms_rotated (csrc/ops/nms_rotated.h).
#pragma once

#include <cstdint>

#include "isa/isa.h"
#include "kernels/rotated_boxes.h"

namespace saccade {

struct NmsRotatedKernels {
  // `boxes` are in the order of their scores; those that are done with get a radius of minus infinity. Writes the kept
  // ranks, ascending, at most max_output (>= 1) of them; returns their number.
  std::int64_t (*suppress_float)(const RotatedBoxes<float>& boxes, float threshold, std::int64_t max_output,
                                 std::uint32_t* kept);
  std::int64_t (*suppress_double)(const RotatedBoxes<double>& boxes, double threshold, std::int64_t max_output,
                                  std::uint32_t* kept);
};
SACCADE_KERNELS(NmsRotatedKernels, nms_rotated_kernels)

}  // namespace saccade
