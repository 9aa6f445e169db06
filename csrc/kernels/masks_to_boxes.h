// Kernels of masks_to_boxes (csrc/ops/masks_to_boxes.h).
#pragma once

#include <cstdint>

#include "isa/isa.h"

namespace saccade {

// One mask of h rows of w elements; `box` receives the first and last column and row with an element that has one of
// `bits` set, as x1, y1, x2, y2; zeros if there is none.
template <class Word>
using MaskToBox = void (*)(const Word* mask, std::int64_t h, std::int64_t w, std::int64_t row_stride, Word bits,
                           float* box);

struct MasksToBoxesKernels {
  MaskToBox<std::uint8_t> words8;
  MaskToBox<std::uint16_t> words16;
  MaskToBox<std::uint32_t> words32;
  MaskToBox<std::uint64_t> words64;
};
SACCADE_KERNELS(MasksToBoxesKernels, masks_to_boxes_kernels)

}  // namespace saccade
