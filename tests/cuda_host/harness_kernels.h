// Kernels that try the harness itself.
#pragma once

#include <cuda_runtime.h>

namespace saccade::cuda {

void launch_block_sum(const float* values, int count, float* sums, int blocks, int threads);
void launch_reverse(int* values, int count);
void launch_warp_scan(const int* values, int* sums, int warps);
void launch_votes(const int* values, unsigned* ballots, int* any_all);
void launch_histogram(const int* values, int count, unsigned* bins);
void launch_shared_is_fresh(float* seen, int blocks);

// Each breaks one rule.
void launch_exit_before_barrier();
void launch_different_barriers();
void launch_missing_barrier(int* values, int count);
void launch_shuffle_from_outside(int* out);
void launch_write_past_end(int* values, int count);
void launch_write_past_shared(int index);
void launch_write_past_dynamic_shared(int index);
void launch_too_many_threads();

}  // namespace saccade::cuda
