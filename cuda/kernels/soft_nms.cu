// Soft suppression: each round takes the best candidate and lowers the scores of the others.
//
// A round needs the result of the one before, so that what counts is its latency. A thread owns every k-th
// candidate; it sweeps over its own, lowers them, closes the gaps that dropped ones leave, and finds its best; shuffles
// and one barrier make it the block's. Up to kOneBlock boxes are one block's, which goes from round to round by itself.
// More are shared out to several blocks, and a launch is one round: every block reduces what the blocks of the launch
// before have found, so that no block waits for another. The limit is an estimate: a sweep of 1,024 candidates takes
// some 400 clocks, so that eight of them take one block about as long as the launch of a round, 2 to 3 us.
//
// A score is multiplied by the same factors in the same order as on the CPU, whoever owns it, and the order of
// candidates is total: results do not depend on how they are shared out.
#include <algorithm>

#include "common/dispatch.h"
#include "cuda/common/launch.cuh"
#include "cuda/kernels/soft_nms.h"
#include "math/exp.h"
#include "math/half.h"

namespace saccade::cuda {
namespace {

constexpr int kWarp = 32, kThreads = 1024;
constexpr std::int64_t kOneBlock = 8192, kBlockShare = 4096, kMaxBlocks = kThreads;  // one thread reads a block's best
constexpr unsigned kAllLanes = 0xffffffffu;

// NaN first, equal scores by index.
template <class A>
__device__ bool comes_before(const SoftNmsCandidate<A>& a, const SoftNmsCandidate<A>& b) {
  if (a.index < 0 || b.index < 0) return a.index >= 0;
  const bool a_is_nan = a.score != a.score, b_is_nan = b.score != b.score;
  if (a.score == b.score || (a_is_nan && b_is_nan)) return a.index < b.index;
  return a_is_nan || a.score > b.score;
}

template <class A>
__device__ SoftNmsCandidate<A> warp_best(SoftNmsCandidate<A> best) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const SoftNmsCandidate<A> other = {__shfl_xor_sync(kAllLanes, best.score, step),
                                       __shfl_xor_sync(kAllLanes, best.index, step)};
    if (comes_before(other, best)) best = other;
  }
  return best;
}

// The best of the block, for all of its threads. The warps' bests of two calls in a row lie apart, so that one barrier
// does: a warp that is ahead does not overwrite what another still reads.
template <class A>
__device__ SoftNmsCandidate<A> block_best(SoftNmsCandidate<A> best, SoftNmsCandidate<A> (&of_warps)[2][kWarp],
                                          std::int64_t call) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warps = static_cast<int>(blockDim.x) / kWarp;
  best = warp_best(best);
  if (lane == 0) of_warps[call % 2][thread / kWarp] = best;
  __syncthreads();
  return warp_best(lane < warps ? of_warps[call % 2][lane] : SoftNmsCandidate<A>{A(0), -1});
}

// Whether the candidate stays after the taken box has lowered its score.
template <class A>
__device__ bool decay(const SoftNmsRule<A>& rule, const SoftNmsTaken<A>& taken, const Pack<A, 4>& box, A& score) {
  const A iou = soft_nms_iou(taken, box.value[0], box.value[1], box.value[2], box.value[3]);
  if (rule.method == SoftNmsMethod::kGaussian) {
    if (iou > A(0)) score = score * exp_nonpositive<ScalarArithmetic>(iou * iou / -rule.sigma);
  } else if (iou > rule.iou_threshold) {
    if (rule.method == SoftNmsMethod::kNaive) return false;
    score = score * (A(1) - iou);
  }
  return !(score < rule.score_threshold);
}

// The thread's own candidates without the box `taken`; returns the best of them.
template <class A>
__device__ SoftNmsCandidate<A> sweep(const SoftNmsBoxes<A>& all, const SoftNmsRule<A>& rule, std::int32_t taken_index,
                                     std::int32_t& left) {
  const Pack<A, 4> box = all.box[taken_index];
  const SoftNmsTaken<A> taken = {box.value[0], box.value[1], box.value[2], box.value[3],
                                 (box.value[2] - box.value[0]) * (box.value[3] - box.value[1])};
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  SoftNmsCandidate<A> best = {A(0), -1};
  for (std::int32_t k = 0; k < left;) {
    SoftNmsCandidate<A>& place = all.place[thread_index() + k * threads];
    SoftNmsCandidate<A> mine = place;
    if (mine.index == taken_index || !decay(rule, taken, all.box[mine.index], mine.score)) {
      place = all.place[thread_index() + --left * threads];
      continue;
    }
    place.score = mine.score;
    if (comes_before(mine, best)) best = mine;
    ++k;
  }
  return best;
}

template <class T, class A>
__global__ void __launch_bounds__(kThreads)
    soft_nms_start_kernel(const __grid_constant__ TensorView boxes, const __grid_constant__ TensorView scores,
                          SoftNmsBoxes<A> all, A score_threshold) {
  using OfWarps = SoftNmsCandidate<A>[2][kWarp];
  SACCADE_SHARED(OfWarps, of_warps);
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  std::int32_t left = 0;
  SoftNmsCandidate<A> best = {A(0), -1};
  for (std::int64_t i = thread_index(); i < all.count; i += threads) {
    const T* row = static_cast<const T*>(boxes.data) + i * boxes.strides[0];
    Pack<A, 4> box;
    for (int j = 0; j < 4; ++j) box.value[j] = static_cast<A>(to_float(row[j * boxes.strides[1]]));
    all.box[i] = box;
    const A score = static_cast<A>(to_float(static_cast<const T*>(scores.data)[i * scores.strides[0]]));
    if (score < score_threshold) continue;
    const SoftNmsCandidate<A> mine = {score, static_cast<std::int32_t>(i)};
    all.place[thread_index() + left++ * threads] = mine;
    if (comes_before(mine, best)) best = mine;
  }
  all.left[thread_index()] = left;
  best = block_best(best, of_warps, 0);
  if (threadIdx.x == 0) all.best[blockIdx.x] = best;
}

// Rounds [first, end): all by one block, or a single one by several.
template <class A>
__global__ void __launch_bounds__(kThreads)
    soft_nms_rounds_kernel(SoftNmsBoxes<A> all, SoftNmsRule<A> rule, std::int64_t first, std::int64_t end,
                           std::int64_t* keep, A* kept_scores, std::int64_t* taken) {
  using OfWarps = SoftNmsCandidate<A>[2][kWarp];
  SACCADE_SHARED(OfWarps, of_warps);
  SoftNmsCandidate<A> best = {A(0), -1};
  if (threadIdx.x < gridDim.x) best = all.best[first % 2 * gridDim.x + threadIdx.x];
  std::int64_t round = first;
  best = block_best(best, of_warps, round);
  std::int32_t left = all.left[thread_index()];
  for (; round < end && best.index >= 0; ++round) {
    if (blockIdx.x == 0 && threadIdx.x == 0) {
      keep[round] = best.index;
      kept_scores[round] = best.score;
      *taken = round + 1;
    }
    best = block_best(sweep(all, rule, best.index, left), of_warps, round + 1);
  }
  all.left[thread_index()] = left;
  if (threadIdx.x == 0) all.best[end % 2 * gridDim.x + blockIdx.x] = best;
}

template <class T, class A>
__global__ void __launch_bounds__(kThreads) soft_nms_scores_kernel(const A* kept_scores, T* out, std::int64_t count) {
  const std::int64_t i = thread_index();
  if (i < count) out[i] = from_float<T>(kept_scores[i]);
}

}  // namespace

SoftNmsShape soft_nms_shape(std::int64_t count) {
  const std::int64_t warps = std::min<std::int64_t>((count + kWarp - 1) / kWarp, kThreads / kWarp);
  const std::int64_t blocks = count <= kOneBlock ? 1 : std::min((count + kBlockShare - 1) / kBlockShare, kMaxBlocks);
  return {static_cast<unsigned>(blocks), static_cast<unsigned>(warps * kWarp)};
}

template <class A>
void launch_soft_nms_start(const TensorView& boxes, const TensorView& scores, const SoftNmsBoxes<A>& all,
                           const SoftNmsRule<A>& rule, cudaStream_t stream) {
  const SoftNmsShape shape = soft_nms_shape(all.count);
  dispatch_floating(boxes.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch({shape.blocks, shape.threads, stream}, soft_nms_start_kernel<T, A>, boxes, scores, all,
           rule.score_threshold);
  });
}

template <class A>
void launch_soft_nms_rounds(const SoftNmsBoxes<A>& all, const SoftNmsRule<A>& rule, std::int64_t first,
                            std::int64_t rounds, std::int64_t* keep, A* kept_scores, std::int64_t* taken,
                            cudaStream_t stream) {
  const SoftNmsShape shape = soft_nms_shape(all.count);
  const std::int64_t step = shape.blocks == 1 ? rounds : 1;
  for (std::int64_t round = first; round < first + rounds; round += step) {
    launch({shape.blocks, shape.threads, stream}, soft_nms_rounds_kernel<A>, all, rule, round, round + step, keep,
           kept_scores, taken);
  }
}

template <class A>
void launch_soft_nms_scores(const A* kept_scores, const TensorView& out, cudaStream_t stream) {
  dispatch_floating(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch({blocks_for(out.size(0), kThreads), kThreads, stream}, soft_nms_scores_kernel<T, A>, kept_scores,
           out.ptr<T>(), out.size(0));
  });
}

#define SACCADE_INSTANTIATE(A)                                                                                       \
  template void launch_soft_nms_start<A>(const TensorView&, const TensorView&, const SoftNmsBoxes<A>&,               \
                                         const SoftNmsRule<A>&, cudaStream_t);                                       \
  template void launch_soft_nms_rounds<A>(const SoftNmsBoxes<A>&, const SoftNmsRule<A>&, std::int64_t, std::int64_t, \
                                          std::int64_t*, A*, std::int64_t*, cudaStream_t);                           \
  template void launch_soft_nms_scores<A>(const A*, const TensorView&, cudaStream_t);
SACCADE_INSTANTIATE(float)
SACCADE_INSTANTIATE(double)
#undef SACCADE_INSTANTIATE

}  // namespace saccade::cuda
