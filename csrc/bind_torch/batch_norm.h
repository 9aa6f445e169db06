// What the CPU and the CUDA binding of batch_norm share: checked arguments in one memory format, and outputs.
#pragma once

#include "bind_torch/memory_format.h"
#include "ops/batch_norm.h"

namespace saccade::bind_torch {

inline Tensor in_layout_of(const Tensor& tensor, const Tensor& input) {
  if (tensor.dim() == 4) return in_format(tensor, format_of(input));
  return view(tensor).is_contiguous() ? tensor : torch::stable::contiguous(tensor);
}
// An uninitialised tensor of the input's shape and memory format.
inline Tensor empty_in_layout(const Tensor& input) {
  const TensorView seen = view(input);
  return empty(std::vector<std::int64_t>(seen.sizes, seen.sizes + seen.ndim), input, {}, format_of(input));
}
// One element per channel, of the accumulator's dtype.
inline Tensor empty_by_channel(const Tensor& input) {
  const std::int64_t channels = input.dim() > 1 ? input.size(1) : 0;
  return empty({channels}, input, input.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float);
}

// Refused as they come, then put in order.
struct NormInputs {
  Tensor input;
  std::optional<Tensor> residual;
  BatchNormArguments arguments;

  NormInputs(const Tensor& input_, const std::optional<Tensor>& running_mean, const std::optional<Tensor>& running_var,
             const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, bool training, double eps,
             const std::optional<Tensor>& residual_, std::int64_t activation,
             void (*check)(const BatchNormArguments&) = check_batch_norm)
      : input(input_),
        residual(residual_),
        arguments{view(input_),
                  optional_view(running_mean),
                  optional_view(running_var),
                  optional_view(weight),
                  optional_view(bias),
                  optional_view(residual),
                  training,
                  eps,
                  activation} {
    check(arguments);
    input = in_layout_of(input, input_);
    if (residual) residual = in_layout_of(*residual, input);
    arguments.input = view(input), arguments.residual = optional_view(residual);
  }
};

struct NormOutputs {
  Tensor out, mean, var;
  explicit NormOutputs(const NormInputs& inputs)
      : out(empty_in_layout(inputs.input)), mean(empty_by_channel(inputs.input)), var(empty_by_channel(inputs.input)) {}
};

struct NormGradientInputs {
  Tensor grad, input, mean, var;
  std::optional<Tensor> output;
  BatchNormGradient arguments;

  NormGradientInputs(const Tensor& grad_, const Tensor& input_, const std::optional<Tensor>& output_,
                     const std::optional<Tensor>& weight, const Tensor& mean_, const Tensor& var_, bool training,
                     double eps, std::int64_t activation)
      : grad(grad_),
        input(input_),
        mean(torch::stable::contiguous(mean_)),
        var(torch::stable::contiguous(var_)),
        output(output_),
        arguments{
            view(grad), view(input), optional_view(output), optional_view(weight), view(mean), view(var), training,
            eps,        activation} {
    check_batch_norm_backward(arguments);
    input = in_layout_of(input, input_);
    grad = in_layout_of(grad, input);
    if (output) output = in_layout_of(*output, input);
    arguments.grad = view(grad), arguments.input = view(input), arguments.output = optional_view(output);
  }
};

// Two values per channel, as the parts of sync_batch_norm.h pass them on.
inline Tensor empty_sums(const Tensor& input) {
  return empty({2, input.dim() > 1 ? input.size(1) : 0}, input, ScalarType::Double);
}

// residual: empty unless asked for.
struct NormGradients {
  Tensor input, weight, bias, residual;
  NormGradients(const NormGradientInputs& inputs, bool with_residual)
      : input(empty_in_layout(inputs.input)),
        weight(empty_by_channel(inputs.input)),
        bias(empty_by_channel(inputs.input)),
        residual(with_residual ? empty_in_layout(inputs.input) : empty({0}, inputs.input)),
        with_residual_(with_residual) {}
  std::optional<TensorView> residual_view() const {
    return with_residual_ ? std::optional(view(residual)) : std::nullopt;
  }

 private:
  bool with_residual_;
};

}  // namespace saccade::bind_torch
