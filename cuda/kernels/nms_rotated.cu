// Greedy suppression of rotated boxes in O(n) memory: tiles of 256 boxes, best first, two launches each.
//
// The first compares the boxes of the tile with each other: a thread has one pair, and a ballot makes a word of 32. In
// the second every block settles the tile by itself from these words (suppression.cuh), then compares one box behind
// the tile per thread with those kept; the first block appends their numbers. No block waits for another, and the host
// waits for none. In nms.cu every block compares the pairs of the tile as well: with an overlap of some 200
// instructions instead of 15 that would take each of them longer than the second launch.
#include "cuda/common/launch.cuh"
#include "cuda/kernels/nms_rotated.h"
#include "cuda/kernels/suppression.cuh"

namespace saccade::cuda {
namespace {

// Far boxes do not overlap, but below zero they suppress each other all the same.
template <class A>
__device__ bool suppresses(const RotatedBox<A>& kept, const RotatedBox<A>& box, A threshold) {
  return (rotated_far(kept, box) ? A(0) : rotated_iou(kept, box)) > threshold;
}

// A warp per word of `pairs`: row i, word w: which of the boxes 32 * w and on are suppressed by box i of the tile. Rows
// of boxes that are removed already are left as they are.
template <class A>
__global__ void __launch_bounds__(kNmsTile)
    nms_rotated_pairs_kernel(NmsRotatedBoxes<A> sorted, A threshold, std::int64_t max_output, std::int64_t tile,
                             const std::int64_t* totals, unsigned* pairs) {
  const int lane = static_cast<int>(threadIdx.x) % kNmsWarp;
  const int number = static_cast<int>(thread_index()) / kNmsWarp, row = number / kNmsWords, word = number % kNmsWords;
  const std::int64_t first = tile * kNmsTile;
  if (totals[tile] >= max_output || first + row >= sorted.count || sorted.removed[first + row] != 0) return;
  const int column = word * kNmsWarp + lane;
  const bool later = column > row && first + column < sorted.count;
  const bool hit = later && suppresses(sorted.box[first + row], sorted.box[first + column], threshold);
  const unsigned bits = __ballot_sync(0xffffffffu, hit);
  if (lane == 0) pairs[number] = bits;
}

template <class A>
__global__ void __launch_bounds__(kNmsTile)
    nms_rotated_tile_kernel(NmsRotatedBoxes<A> sorted, A threshold, std::int64_t max_output, std::int64_t tile,
                            const unsigned* pairs, std::int64_t* keep, std::int64_t* totals) {
  using Box = AlignedRotatedBox<A>;
  SACCADE_SHARED(Box[kNmsTile], boxes);
  SACCADE_SHARED(NmsTile, choice);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kNmsWarp, warp = thread / kNmsWarp;
  const std::int64_t before = totals[tile], first = tile * kNmsTile;
  if (before >= max_output) {
    if (blockIdx.x == 0 && thread == 0) totals[tile + 1] = before;
    return;
  }
  const bool alive = first + thread < sorted.count && sorted.removed[first + thread] == 0;
  if (alive) {
    boxes[thread] = sorted.box[first + thread];
    for (int w = 0; w < kNmsWords; ++w) choice.suppressed[thread][w] = pairs[thread * kNmsWords + w];
  }
  const unsigned word = __ballot_sync(0xffffffffu, alive);
  if (lane == 0) choice.alive[warp] = word;
  __syncthreads();
  if (warp == 0) settle_tile(choice, lane);
  __syncthreads();
  if (blockIdx.x == 0) append_kept(choice, sorted.order + first, before, max_output, keep, totals + tile + 1);

  const std::int64_t i = first + kNmsTile + thread_index();
  if (i >= sorted.count || sorted.removed[i] != 0) return;
  const Box mine = sorted.box[i];
  for (int k = 0; k < choice.kept_count; ++k) {
    if (!suppresses(boxes[choice.kept_box[k]], mine, threshold)) continue;
    sorted.removed[i] = 1;
    return;
  }
}

}  // namespace

template <class A>
void launch_nms_rotated(const NmsRotatedBoxes<A>& sorted, A threshold, std::int64_t max_output, unsigned* pairs,
                        std::int64_t* keep, std::int64_t* totals, cudaStream_t stream) {
  check(cudaMemsetAsync(totals, 0, sizeof *totals, stream), "clearing of CUDA memory");
  for (std::int64_t tile = 0; tile * kNmsTile < sorted.count; ++tile) {
    const std::int64_t left = sorted.count - tile * kNmsTile, rows = left < kNmsTile ? left : kNmsTile;
    const std::int64_t behind = left - rows;
    launch({blocks_for(rows * kNmsWords * kNmsWarp, kNmsTile), kNmsTile, stream}, nms_rotated_pairs_kernel<A>, sorted,
           threshold, max_output, tile, totals, pairs);
    launch({behind > 0 ? blocks_for(behind, kNmsTile) : 1, kNmsTile, stream}, nms_rotated_tile_kernel<A>, sorted,
           threshold, max_output, tile, pairs, keep, totals);
  }
}

template void launch_nms_rotated<float>(const NmsRotatedBoxes<float>&, float, std::int64_t, unsigned*, std::int64_t*,
                                        std::int64_t*, cudaStream_t);
template void launch_nms_rotated<double>(const NmsRotatedBoxes<double>&, double, std::int64_t, unsigned*, std::int64_t*,
                                         std::int64_t*, cudaStream_t);

}  // namespace saccade::cuda
