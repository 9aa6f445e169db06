// Kernels of box_iou_rotated (csrc/ops/box_iou_rotated.h).
#pragma once

#include <cstdint>

#include "isa/isa.h"
#include "kernels/rotated_boxes.h"

namespace saccade {

struct BoxIouRotatedKernels {
  // One row of the matrix: box `row` of the first argument with each of the second, into iou[0, columns.count).
  void (*row_float)(const RotatedBoxes<float>& rows, std::int64_t row, const RotatedBoxes<float>& columns, float* iou);
  void (*row_double)(const RotatedBoxes<double>& rows, std::int64_t row, const RotatedBoxes<double>& columns,
                     double* iou);
};
SACCADE_KERNELS(BoxIouRotatedKernels, box_iou_rotated_kernels)

}  // namespace saccade
