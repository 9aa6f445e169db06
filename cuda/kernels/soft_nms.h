// CUDA kernels of soft_nms (csrc/ops/soft_nms.h).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/tensor_view.h"
#include "cuda/common/pack.cuh"
#include "math/soft_nms.h"

namespace saccade::cuda {

template <class A>
struct alignas(2 * sizeof(A)) SoftNmsCandidate {
  A score;
  std::int32_t index;  // negative: none
};

// How the candidates are shared out: thread t owns places t, t + blocks * threads and so on.
struct SoftNmsShape {
  unsigned blocks, threads;
};
SoftNmsShape soft_nms_shape(std::int64_t count);

template <class A>
struct SoftNmsBoxes {
  std::int64_t count;
  Pack<A, 4>* box;             // by number
  SoftNmsCandidate<A>* place;  // count
  std::int32_t* left;          // of each thread: how many of its places, from the first, hold a candidate
  SoftNmsCandidate<A>* best;   // of each block, twice: read by one launch, written by the next
};

template <class A>
struct SoftNmsRule {
  SoftNmsMethod method;
  A iou_threshold, sigma, score_threshold;  // iou_threshold: of largest_not_above
};

// boxes (n, 4) and scores (n,) of any strides and of one floating dtype that goes with A: float, or double for float64.
// Fills all of `all`.
template <class A>
void launch_soft_nms_start(const TensorView& boxes, const TensorView& scores, const SoftNmsBoxes<A>& all,
                           const SoftNmsRule<A>& rule, cudaStream_t stream);

// Rounds [first, first + rounds), as far as there are candidates: keep and kept_scores (n) at the number of the round,
// and in `taken` how many there have been in all.
template <class A>
void launch_soft_nms_rounds(const SoftNmsBoxes<A>& all, const SoftNmsRule<A>& rule, std::int64_t first,
                            std::int64_t rounds, std::int64_t* keep, A* kept_scores, std::int64_t* taken,
                            cudaStream_t stream);

// kept_scores in the dtype of out (n,), dense.
template <class A>
void launch_soft_nms_scores(const A* kept_scores, const TensorView& out, cudaStream_t stream);

}  // namespace saccade::cuda
