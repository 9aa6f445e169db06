// Convolutions whose channels are planes (NCHW): the contract of csrc/ops/conv_gemm.h.
#pragma once

#include "ops/conv_gemm.h"

namespace saccade {

// Packed weights: for every output channel its channels, in each the taps.
std::int64_t conv_planes_packed_size(const ConvProblem& problem);
void conv_planes_pack(const ConvProblem& problem, const ConvWeights& weights, void* packed);
void conv_planes(const ConvProblem& problem, const TensorView& source, const void* packed, const ConvAffine& affine,
                 const TensorView& out);

// The contract of conv_weight_gradient. An infinite or NaN cell at the border may make the gradients of its row's taps
// NaN where the sum itself would not see it: results are padded with zeros to the rows of the strip.
void conv_planes_weight_gradient(const ConvProblem& problem, const TensorView& source, const TensorView& results,
                                 const ConvWeights& layout, void* gradient);

}  // namespace saccade
