// Batch normalisation over several processes (csrc/ops/sync_batch_norm.h): what batch_norm.h does in parts, between
// which statistics and sums are in double.
#pragma once
#include <cuda_runtime.h>

#include "cuda/kernels/batch_norm.h"

namespace saccade::cuda {

// partials: chunks * 3 * channels; out: 2 * channels.
template <class T, class A>
void launch_sync_batch_norm_statistics(const NormShape& shape, const T* x, A* partials, double* out,
                                       cudaStream_t stream);

// mean, var: channels; scales: 3 * channels.
template <class T, class A>
void launch_sync_batch_norm_apply(const NormShape& shape, const T* x, const T* residual, const double* mean,
                                  const double* var, const ChannelParameter& weight, const ChannelParameter& bias,
                                  double eps, Activation activation, A* scales, T* out, cudaStream_t stream);

// partials: chunks * 2 * channels; sums: 2 * channels. out: null without an activation.
template <class T, class A>
void launch_sync_batch_norm_backward_sums(const NormShape& shape, const T* grad, const T* x, const T* out,
                                          const A* mean, const A* var, double eps, Activation activation, A* partials,
                                          double* sums, cudaStream_t stream);

// means: 2 * channels; scales: 3 * channels. grad_residual: may be null.
template <class T, class A>
void launch_sync_batch_norm_backward_apply(const NormShape& shape, const T* grad, const T* x, const T* out,
                                           const ChannelParameter& weight, const A* mean, const A* var,
                                           const double* means, double eps, Activation activation, A* scales,
                                           T* grad_input, T* grad_residual, cudaStream_t stream);

}  // namespace saccade::cuda
