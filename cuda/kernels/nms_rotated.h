// CUDA kernels of nms_rotated (csrc/ops/nms_rotated.h).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/kernels/nms.h"
#include "cuda/kernels/rotated_boxes.h"

namespace saccade::cuda {

// Boxes in the order in which they are visited, best first, and what is known of them.
template <class A>
struct NmsRotatedBoxes {
  std::int64_t count;
  const AlignedRotatedBox<A>* box;
  unsigned char* removed;     // all zero
  const std::int64_t* order;  // the caller's number of each
};

// Words of scratch memory: which boxes of one tile suppress which.
constexpr int kNmsRotatedPairs = kNmsTile * kNmsTile / 32;

// keep: room for max_output numbers. totals: room for one more than there are tiles of kNmsTile boxes; the last is how
// many were kept. threshold: of largest_not_above. pairs: kNmsRotatedPairs words.
template <class A>
void launch_nms_rotated(const NmsRotatedBoxes<A>& sorted, A threshold, std::int64_t max_output, unsigned* pairs,
                        std::int64_t* keep, std::int64_t* totals, cudaStream_t stream);

}  // namespace saccade::cuda
