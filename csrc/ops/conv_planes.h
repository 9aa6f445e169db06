// Convolutions whose channels are planes (NCHW): the contract of csrc/ops/conv_gemm.h.
#pragma once

#include "ops/conv_gemm.h"

namespace saccade {

// Packed weights: for every output channel its channels, in each the taps.
std::int64_t conv_planes_packed_size(const ConvProblem& problem);
void conv_planes_pack(const ConvProblem& problem, const ConvWeights& weights, void* packed);
void conv_planes(const ConvProblem& problem, const TensorView& source, const void* packed, const ConvAffine& affine,
                 const TensorView& out);

}  // namespace saccade
