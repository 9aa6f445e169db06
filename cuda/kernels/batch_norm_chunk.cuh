// Sums over the channels of a tensor: a block of 8 warps takes a chunk of one channel whose elements lie in planes, or
// a chunk of rows of 32 channels, a lane for each. No atomics: chunks are combined in order by a second kernel.
#pragma once

#include "cuda/common/launch.cuh"
#include "cuda/common/scan.cuh"
#include "cuda/kernels/batch_norm.h"

namespace saccade::cuda {

constexpr int kNormThreads = 256, kNormWarps = kNormThreads / kWarp;

template <bool kRows>
struct ChunkWalk {
  NormShape shape;
  std::int64_t chunk, channel;  // channel may lie behind the last one (rows)
  std::int64_t begin, count;    // elements of the channel in this chunk

  __device__ ChunkWalk(const NormShape& of, const NormChunks& chunks) : shape(of) {
    const std::int64_t columns = kRows ? (shape.channels + kWarp - 1) / kWarp : shape.channels;
    chunk = blockIdx.x / columns;
    channel = blockIdx.x % columns;
    if (kRows) channel = channel * kWarp + threadIdx.x % kWarp;
    begin = chunk * chunks.step;
    const std::int64_t left = shape.count - begin;
    count = left < chunks.step ? left : chunks.step;
  }

  // Calls body(index) for this thread's share of the first n elements.
  template <class Body>
  __device__ void each(std::int64_t n, const Body& body) const {
    if (kRows) {
      if (channel >= shape.channels) return;
      for (std::int64_t r = threadIdx.x / kWarp; r < n; r += kNormWarps) body((begin + r) * shape.channels + channel);
      return;
    }
    const std::int64_t plane = begin / shape.inner, at = begin % shape.inner;
    const bool small = shape.inner + n < (std::int64_t{1} << 31);
    for (std::int64_t i = threadIdx.x; i < n; i += kNormThreads) {
      const std::int64_t sum = at + i;
      // 32-bit division is several times as fast.
      const std::int64_t past =
          small ? static_cast<unsigned>(sum) / static_cast<unsigned>(shape.inner) : sum / shape.inner;
      body(((plane + past) * shape.channels + channel) * shape.inner + sum - past * shape.inner);
    }
  }

  // Whether this thread writes the sums of its channel.
  __device__ bool writes() const { return kRows ? threadIdx.x < kWarp && channel < shape.channels : threadIdx.x == 0; }
};

// The sum over the threads of a channel, in a fixed order, for all of them.
template <bool kRows, class A>
__device__ A channel_sum(A value) {
  SACCADE_SHARED(A[kNormWarps][kWarp], tile);
  const int lane = threadIdx.x % kWarp;
  __syncthreads();  // the tile may hold another sum
  tile[threadIdx.x / kWarp][lane] = value;
  __syncthreads();
  A sum = tile[0][lane];
  for (int warp = 1; warp < kNormWarps; ++warp) sum += tile[warp][lane];
  if (!kRows) {
    for (int step = kWarp / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  }
  return sum;
}

inline unsigned norm_blocks(const NormShape& shape, const NormChunks& chunks) {
  const std::int64_t columns = shape.rows ? (shape.channels + kWarp - 1) / kWarp : shape.channels;
  return blocks_for(columns * chunks.chunks, 1);
}

}  // namespace saccade::cuda
