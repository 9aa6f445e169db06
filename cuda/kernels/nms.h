#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/tensor_view.h"
#include "cuda/common/pack.cuh"

namespace saccade::cuda {

// Boxes in the order in which they are visited, best first, and what is known of them.
template <class A>
struct NmsBoxes {
  std::int64_t count;
  Pack<A, 4>* box;
  unsigned char* removed;
  const std::int64_t* order;  // the caller's number of each
};

// boxes (n, 4) of any strides and any floating dtype that goes with A: float, or double for float64. Fills box and
// removed.
template <class A>
void launch_nms_gather(const TensorView& boxes, const NmsBoxes<A>& sorted, cudaStream_t stream);

// Categories (n,) of any dtype in the same order: L is double for floating ones, else int64.
template <class L>
void launch_nms_labels(const TensorView& idxs, const std::int64_t* order, L* labels, cudaStream_t stream);

// In every category, or among all boxes.
struct NoLabel {};

constexpr int kNmsTile = 256;

// keep: room for max_output numbers. totals: room for one more than there are tiles of kNmsTile boxes; the last is how
// many were kept. threshold: of largest_not_above. labels may be null for NoLabel.
template <class A, class L>
void launch_nms(const NmsBoxes<A>& sorted, const L* labels, A threshold, std::int64_t max_output, std::int64_t* keep,
                std::int64_t* totals, cudaStream_t stream);

// scores (n,) of any floating dtype as keys (n,), dense, that torch.sort orders as the CPU orders the scores: its radix
// sort, from 129 elements on, takes a NaN whose sign is set (0 / 0 on x86) for the smallest.
template <class A>
void launch_nms_keys(const TensorView& scores, A* keys, cudaStream_t stream);

}  // namespace saccade::cuda
