// Batch normalisation over the batches of several processes, in the parts between which these combine what they have:
//   statistics of the own batch | those of all | the elements;  sums of the own gradient | those of all | the elements.
// Inputs, layouts, dtypes and numbers are those of batch_norm.h. Statistics and sums are float64, (2, c), so that an
// offset costs nothing on the way; a batch may be empty, its statistics are zeros.
#pragma once

#include <optional>

#include "ops/batch_norm.h"

namespace saccade {

void check_sync_batch_norm_statistics(const TensorView& input);

// out: the mean of each channel, then the sum of the squared deviations from it.
void sync_batch_norm_statistics(const TensorView& input, const TensorView& out);

// As in evaluation, with running_mean and running_var in float64: the statistics of all batches.
void check_sync_batch_norm_apply(const BatchNormArguments& arguments);
void sync_batch_norm_apply(const BatchNormArguments& arguments, const TensorView& out);

// out: by channel the sum of g, grad after the activation's gradient, then that of g times the normalised input: the
// own shares of the gradients of bias and weight. Checked by check_batch_norm_backward.
void sync_batch_norm_backward_sums(const BatchNormGradient& arguments, const TensorView& out);

// means: those sums over all batches, divided by the count of all.
void check_sync_batch_norm_backward_apply(const BatchNormGradient& arguments, const TensorView& means);
void sync_batch_norm_backward_apply(const BatchNormGradient& arguments, const TensorView& means,
                                    const TensorView& grad_input, const std::optional<TensorView>& grad_residual);

}  // namespace saccade
