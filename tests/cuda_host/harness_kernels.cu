#include "cuda/common/launch.cuh"
#include "harness_kernels.h"

namespace saccade::cuda {
namespace {

constexpr unsigned kAll = 0xffffffffu;

__global__ void block_sum_kernel(const float* values, int count, float* sums) {
  SACCADE_SHARED(float[32], partial);
  const std::int64_t i = thread_index();
  float sum = i < count ? values[i] : 0.0f;
  for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(kAll, sum, step);
  if (threadIdx.x % warpSize == 0) partial[threadIdx.x / warpSize] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (unsigned w = 1; w < blockDim.x / warpSize; ++w) sum += partial[w];
    sums[blockIdx.x] = sum;
  }
}

template <bool kBarrier>
__global__ void reverse_kernel(int* values, int count) {
  int* copy = dynamic_shared<int>();
  const int i = static_cast<int>(threadIdx.x);
  copy[i] = values[i];
  if constexpr (kBarrier) __syncthreads();
  values[i] = copy[count - 1 - i];
}

__global__ void warp_scan_kernel(const int* values, int* sums) {
  const int lane = static_cast<int>(threadIdx.x) % warpSize;
  int sum = values[thread_index()];
  for (int step = 1; step < warpSize; step *= 2) {
    const int other = __shfl_up_sync(kAll, sum, step);
    if (lane >= step) sum += other;
  }
  sums[thread_index()] = sum;
}

__global__ void votes_kernel(const int* values, unsigned* ballots, int* any_all) {
  const int value = values[threadIdx.x];
  const unsigned odd = __ballot_sync(kAll, value & 1);
  const unsigned same = __match_any_sync(kAll, value);
  ballots[threadIdx.x] = odd;
  ballots[32 + threadIdx.x] = same;
  if (value & 1) {
    // Only the odd lanes: a mask that leaves lanes out.
    any_all[threadIdx.x] = __reduce_add_sync(odd, value);
  } else {
    any_all[threadIdx.x] = __any_sync(~odd, value == 6) * 2 + __all_sync(~odd, value < 100);
  }
}

__global__ void histogram_kernel(const int* values, int count, unsigned* bins) {
  SACCADE_SHARED(unsigned[8], local);
  if (threadIdx.x < 8) local[threadIdx.x] = 0;
  __syncthreads();
  if (thread_index() < count) atomicAdd(&local[values[thread_index()]], 1u);
  __syncthreads();
  if (threadIdx.x < 8) atomicAdd(&bins[threadIdx.x], local[threadIdx.x]);
}

__global__ void shared_is_fresh_kernel(float* seen) {
  SACCADE_SHARED(float, value);
  seen[blockIdx.x] = value;  // left by the block before, if it were not fresh
  value = 1.0f;
}

__global__ void exit_before_barrier_kernel() {
  if (threadIdx.x == 7) return;
  __syncthreads();
}

__global__ void different_barriers_kernel() {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void shuffle_from_outside_kernel(int* out) {
  if (threadIdx.x < 8) out[threadIdx.x] = __shfl_sync(0xffu, static_cast<int>(threadIdx.x), 9);
}

__global__ void write_kernel(int* values, int count) {
  if (thread_index() <= count) values[thread_index()] = 1;
}

__global__ void write_shared_kernel(int index) {
  SACCADE_SHARED(int[16], values);
  int* pointer = values;
  pointer[index] = 1;
}

__global__ void write_dynamic_shared_kernel(int index) { dynamic_shared<int>()[index] = 1; }

}  // namespace

void launch_block_sum(const float* values, int count, float* sums, int blocks, int threads) {
  launch({static_cast<unsigned>(blocks), static_cast<unsigned>(threads)}, block_sum_kernel, values, count, sums);
}
void launch_reverse(int* values, int count) {
  const unsigned threads = static_cast<unsigned>(count);
  launch({1, threads, nullptr, threads * sizeof(int)}, reverse_kernel<true>, values, count);
}
void launch_warp_scan(const int* values, int* sums, int warps) {
  launch({1, static_cast<unsigned>(32 * warps)}, warp_scan_kernel, values, sums);
}
void launch_votes(const int* values, unsigned* ballots, int* any_all) {
  launch({1, 32}, votes_kernel, values, ballots, any_all);
}
void launch_histogram(const int* values, int count, unsigned* bins) {
  launch({blocks_for(count, 64), 64}, histogram_kernel, values, count, bins);
}
void launch_shared_is_fresh(float* seen, int blocks) {
  launch({static_cast<unsigned>(blocks), 1}, shared_is_fresh_kernel, seen);
}
void launch_exit_before_barrier() { launch({1, 64}, exit_before_barrier_kernel); }
void launch_different_barriers() { launch({1, 32}, different_barriers_kernel); }
void launch_missing_barrier(int* values, int count) {
  const unsigned threads = static_cast<unsigned>(count);
  launch({1, threads, nullptr, threads * sizeof(int)}, reverse_kernel<false>, values, count);
}
void launch_shuffle_from_outside(int* out) { launch({1, 32}, shuffle_from_outside_kernel, out); }
void launch_write_past_end(int* values, int count) {
  launch({blocks_for(count + 1, 32), 32}, write_kernel, values, count);
}
void launch_write_past_shared(int index) { launch({1, 1}, write_shared_kernel, index); }
void launch_write_past_dynamic_shared(int index) { launch({1, 1, nullptr, 64}, write_dynamic_shared_kernel, index); }
void launch_too_many_threads() { launch({1, dim3(64, 32)}, exit_before_barrier_kernel); }

}  // namespace saccade::cuda
