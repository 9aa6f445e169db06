// Batch normalisation (csrc/ops/batch_norm.h).
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/common/channel_parameter.h"
#include "ops/batch_norm.h"

namespace saccade::cuda {

// How sums over a channel are cut: `chunks` of `step` elements (planes) or rows, by the shape alone.
struct NormChunks {
  std::int64_t chunks, step;
};
NormChunks norm_chunks(const NormShape& shape);

struct NormParameters {
  ChannelParameter running_mean, running_var, weight, bias;
};

// ---- In parts. mean, scales: as batch_norm_channel.cuh writes them --------------------------------------------------

// partials: chunks * 3 * channels.
template <class T, class A>
void launch_norm_moments(const NormShape& shape, const T* x, A* partials, cudaStream_t stream);

template <class T, class A>
void launch_norm_elements(const NormShape& shape, const T* x, const T* residual, const A* mean, const A* scales,
                          Activation activation, T* out, cudaStream_t stream);

// partials: chunks * 2 * channels.
template <class T, class A>
void launch_norm_sums(const NormShape& shape, const T* grad, const T* x, const T* out, const A* mean,
                      Activation activation, A* partials, cudaStream_t stream);

template <class T, class A>
void launch_norm_gradient(const NormShape& shape, const T* grad, const T* x, const T* out, const A* mean,
                          const A* scales, bool training, Activation activation, T* grad_input, T* grad_residual,
                          cudaStream_t stream);

// ---- As a whole -----------------------------------------------------------------------------------------------------

// mean, var: outputs; partials: chunks * 3 * channels, not used in evaluation; scales: 2 * channels.
template <class T, class A>
void launch_batch_norm(const NormShape& shape, const T* x, const T* residual, const NormParameters& parameters,
                       bool training, double eps, Activation activation, A* partials, A* scales, A* mean, A* var,
                       T* out, cudaStream_t stream);

// partials: chunks * 2 * channels; scales: 3 * channels. out: null without an activation; grad_residual: may be null.
template <class T, class A>
void launch_batch_norm_backward(const NormShape& shape, const T* grad, const T* x, const T* out,
                                const ChannelParameter& weight, const A* mean, const A* var, bool training, double eps,
                                Activation activation, A* partials, A* scales, T* grad_input, A* grad_weight,
                                A* grad_bias, T* grad_residual, cudaStream_t stream);

}  // namespace saccade::cuda
