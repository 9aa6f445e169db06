// Batch normalisation (Ioffe and Szegedy, 2015, algorithms 1 and 2), a residual and an activation in the same pass:
//   out = activation((input - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c] + residual)
// mean and var are those of the batch in training (var biased: divided by the count), the running ones in evaluation.
//
// input (n, c, ...), contiguous or channels_last; residual and out of its shape, dtype and layout; parameters (c), all
// of one dtype: the input's, or float32 beside halves. Semantics of torch.nn.functional.batch_norm; NaN spreads over
// its channel in training.
//
// Halves are read as float32. Statistics are taken by blocks of a fixed partition, each about a mean of its own, and
// combined in double in the order of the blocks: the same bits for any number of threads, and no loss to an offset.
#pragma once

#include <cstdint>
#include <optional>

#include "common/tensor_view.h"
#include "math/activation.h"

namespace saccade {

struct BatchNormArguments {
  TensorView input;
  std::optional<TensorView> running_mean, running_var, weight, bias, residual;
  bool training;
  double eps;
  std::int64_t activation;
};

void check_batch_norm(const BatchNormArguments& arguments);

// mean and var: those used, (c) of the accumulator's dtype.
void batch_norm(const BatchNormArguments& arguments, const TensorView& out, const TensorView& mean,
                const TensorView& var);

struct BatchNormGradient {
  TensorView grad, input;
  std::optional<TensorView> output, weight;  // output: where there is an activation
  TensorView mean, var;
  bool training;
  double eps;
  std::int64_t activation;
};

void check_batch_norm_backward(const BatchNormGradient& arguments);

// grad_residual: where asked for. Gradients of weight and bias in the accumulator's dtype. Everything in the input's
// layout; written in full.
void batch_norm_backward(const BatchNormGradient& arguments, const TensorView& grad_input,
                         const TensorView& grad_weight, const TensorView& grad_bias,
                         const std::optional<TensorView>& grad_residual);

// Sizes as the kernels see them: `rows` where channels are innermost, otherwise outer planes of `inner` elements.
struct NormShape {
  std::int64_t outer, channels, inner;
  std::int64_t count;  // elements of a channel
  bool rows;
};
NormShape norm_shape(const TensorView& input);

}  // namespace saccade
