// Kernels of nms (csrc/ops/nms.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/macros.h"
#include "isa/isa.h"

namespace saccade {

// One group of boxes that may suppress each other.
template <class T>
struct NmsProblem {
  const T* boxes;              // rows x1, y1, x2, y2 without gaps
  const std::uint32_t* order;  // the group's rows, best first
  std::int64_t count;          // at least 1
  T threshold;                 // the largest T not above iou_threshold
  std::int64_t max_output;     // at least 1
  void* memory;                // nms_memory_bytes<T>(count), aligned to 64; begins with the result afterwards
};

// Slots past the last box that may be read: two registers are compared at a time.
constexpr std::int64_t kNmsPadding = 32;

// Cells of the spatial index as a power of two: up to two boxes to a cell; a few boxes are scanned whole.
SACCADE_HD int nms_cell_bits(std::int64_t count) {
  int bits = 0;
  while (count > 64 && (std::int64_t{2} << bits) <= count) ++bits;
  return bits;
}
template <class T>
SACCADE_HD std::size_t nms_memory_bytes(std::int64_t count) {
  const std::int64_t slots = count + 2 * kNmsPadding;
  const std::int64_t cells = (std::int64_t{1} << nms_cell_bits(count)) + 3 + kNmsPadding;
  return static_cast<std::size_t>(slots) * (5 * sizeof(T) + 12) + static_cast<std::size_t>(cells) * 4 + 10 * 64;
}

struct NmsKernels {
  // Leaves the kept ranks (positions in `order`), ascending, as uint32 at the front of `memory`; returns their number.
  std::int64_t (*suppress_float)(const NmsProblem<float>& problem);
  std::int64_t (*suppress_double)(const NmsProblem<double>& problem);
};
SACCADE_KERNELS(NmsKernels, nms_kernels)

}  // namespace saccade
