// Convolutions of channels_last images whose groups have as many input as output channels and fit several into a
// register: depthwise ones, ResNeXt's. The interface is that of ops/conv_gemm.h.
#pragma once

#include "ops/conv_gemm.h"

namespace saccade {

// Whether they can: a group of 1, 2, 4 or 8 channels, fewer than a register's lanes.
bool conv_lanes_serve(const ConvProblem& problem, DType dtype);

std::int64_t conv_lanes_packed_size(const ConvProblem& problem, DType dtype);
void conv_lanes_pack(const ConvProblem& problem, const ConvWeights& weights, void* packed);
void conv_lanes(const ConvProblem& problem, const TensorView& source, const void* packed, const ConvAffine& affine,
                const TensorView& out);
void conv_lanes_weight_gradient(const ConvProblem& problem, const TensorView& source, const TensorView& results,
                                const ConvWeights& layout, void* gradient);

}  // namespace saccade
