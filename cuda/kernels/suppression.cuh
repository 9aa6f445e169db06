// Greedy choice within a tile of kNmsTile boxes, best first: what nms and nms_rotated share. A block has kNmsTile
// threads.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/kernels/nms.h"

namespace saccade::cuda {

constexpr int kNmsWarp = 32, kNmsWords = kNmsTile / kNmsWarp;

// In shared memory.
struct NmsTile {
  unsigned suppressed[kNmsTile][kNmsWords];  // by box i of the tile: bit j of word w is box 32 * w + j
  unsigned alive[kNmsWords], kept[kNmsWords];
  int kept_box[kNmsTile], kept_count;
};

// By one warp, once `suppressed` (of the boxes that are alive) and `alive` are there: the kept boxes of the tile, from
// one to the next; lane w < kNmsWords has word w of those not yet visited.
__device__ inline void settle_tile(NmsTile& tile, int lane) {
  constexpr unsigned kAllLanes = 0xffffffffu;
  unsigned left = lane < kNmsWords ? tile.alive[lane] : 0, kept = 0;
  int count = 0;
  for (unsigned words = __ballot_sync(kAllLanes, left != 0); words != 0; words = __ballot_sync(kAllLanes, left != 0)) {
    const int word = __ffs(static_cast<int>(words)) - 1;
    const int bit = __ffs(static_cast<int>(__shfl_sync(kAllLanes, left, word))) - 1;
    const int i = word * kNmsWarp + bit;
    if (lane == word) {
      kept |= 1u << bit;
      left &= ~(1u << bit);
      tile.kept_box[count] = i;
    }
    if (lane < kNmsWords) left &= ~tile.suppressed[i][lane];
    ++count;
  }
  if (lane < kNmsWords) tile.kept[lane] = kept;
  if (lane == 0) tile.kept_count = count;
}

// By one block, once the tile is settled: `numbers` of the kept boxes behind the `before` numbers in keep, at most up
// to max_output; total: how many there are then.
__device__ inline void append_kept(const NmsTile& tile, const std::int64_t* numbers, std::int64_t before,
                                   std::int64_t max_output, std::int64_t* keep, std::int64_t* total) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kNmsWarp, warp = thread / kNmsWarp;
  std::int64_t rank = before + __popc(tile.kept[warp] & ((1u << lane) - 1));
  for (int w = 0; w < warp; ++w) rank += __popc(tile.kept[w]);
  if ((tile.kept[warp] >> lane & 1u) != 0 && rank < max_output) keep[rank] = numbers[thread];
  const std::int64_t after = before + tile.kept_count;
  if (thread == 0) *total = after < max_output ? after : max_output;
}

}  // namespace saccade::cuda
