// The general convolution of channels_last tensors: results on a grid as products of tiles (kernels/conv_gemm.h),
// reading the input in place. The rows of a tile are results, read where the input has them (zeros outside it), its
// columns are output channels. The depth is cut in blocks whose panel stays in L2; the sums of a chunk of results wait
// in between. Weights of at most half of L2 meet a chunk's cells panel by panel, larger ones panel by panel all cells
// (256 -> 256 at 200x200 on a Zen 5: 24.5 ms and 32.9, the cells being read once in place of four times). Order of the
// depth: blocks of channels, in each the taps, in each tap the block's channels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/tensor_view.h"
#include "kernels/conv_gemm.h"

namespace saccade {

// Which weight stands between output channel n, input channel c and tap t: data[n * n_step + c * c_step + taps[t]], and
// where the next group begins.
struct ConvWeights {
  const void* data;
  DType dtype;
  std::int64_t n_step, c_step, group_step;
  std::vector<std::int64_t> taps;
};

// Channels of one group.
struct ConvDepth {
  std::int64_t channels, taps;
  static constexpr std::int64_t kBlock = 1024;

  std::int64_t whole() const { return channels * taps; }
  std::int64_t channel_block() const { return std::min(channels, kBlock); }
  std::int64_t tap_block() const { return std::max<std::int64_t>(1, kBlock / std::max<std::int64_t>(1, channels)); }
  std::int64_t largest() const { return channel_block() * std::min(taps, tap_block()); }
};

struct ConvProblem {
  ConvGrid grid;
  std::int64_t images, groups, channels, out_channels;  // channels of all groups
  bool rows;                                            // channels_last

  ConvDepth depth() const { return {channels / groups, grid.taps}; }
  std::int64_t outs() const { return out_channels / groups; }
};

// Elements of the packed weights, of the accumulator's type.
std::int64_t conv_packed_size(const ConvProblem& problem, DType dtype);
void conv_pack(const ConvProblem& problem, const ConvWeights& weights, void* packed);

// scale and shift: (out_channels), of the accumulator's type.
struct ConvAffine {
  const void *scale, *shift;
  std::optional<TensorView> residual;
  Activation activation;
};
void conv_gemm(const ConvProblem& problem, const TensorView& source, const void* packed, const ConvAffine& affine,
               const TensorView& out);

// The same for bfloat16 as it is (kernels/conv_pairs.h), where the processor can.
bool conv_pairs_serve(DType dtype);
std::int64_t conv_pairs_packed_size(const ConvProblem& problem);
void conv_pairs_pack(const ConvProblem& problem, const ConvWeights& weights, void* packed);
void conv_pairs(const ConvProblem& problem, const TensorView& source, const void* packed, const ConvAffine& affine,
                const TensorView& out);

// gradient[n * n_step + c * c_step + taps[t]] = sum over images and results of results[n] * source[c at tap t], in the
// accumulator's type; results lie where the grid counts them.
void conv_weight_gradient(const ConvProblem& problem, const TensorView& source, const TensorView& results,
                          const ConvWeights& layout, void* gradient);
// The same with a source of ones and one tap: (out_channels).
void conv_bias_gradient(const ConvProblem& problem, const TensorView& results, void* gradient);

}  // namespace saccade
