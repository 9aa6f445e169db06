#include "ops/batch_norm.h"

#include "bind_torch/batch_norm.h"

namespace saccade::bind_torch {
namespace {

std::tuple<Tensor, Tensor, Tensor> batch_norm(const Tensor& input, const std::optional<Tensor>& running_mean,
                                              const std::optional<Tensor>& running_var,
                                              const std::optional<Tensor>& weight, const std::optional<Tensor>& bias,
                                              bool training, double eps, const std::optional<Tensor>& residual,
                                              std::int64_t activation) {
  const NormInputs inputs(input, running_mean, running_var, weight, bias, training, eps, residual, activation);
  NormOutputs outputs(inputs);
  saccade::batch_norm(inputs.arguments, view(outputs.out), view(outputs.mean), view(outputs.var));
  return {outputs.out, outputs.mean, outputs.var};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> batch_norm_backward(const Tensor& grad, const Tensor& input,
                                                               const std::optional<Tensor>& output,
                                                               const std::optional<Tensor>& weight, const Tensor& mean,
                                                               const Tensor& var, bool training, double eps,
                                                               std::int64_t activation, bool residual) {
  const NormGradientInputs inputs(grad, input, output, weight, mean, var, training, eps, activation);
  NormGradients g(inputs, residual);
  saccade::batch_norm_backward(inputs.arguments, view(g.input), view(g.weight), view(g.bias), g.residual_view());
  return {g.input, g.weight, g.bias, g.residual};
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "batch_norm(Tensor input, Tensor? running_mean, Tensor? running_var, Tensor? weight, Tensor? bias, "
      "bool training, float eps, Tensor? residual, int activation) -> (Tensor, Tensor, Tensor)");
  m.def(
      "_batch_norm_backward(Tensor grad, Tensor input, Tensor? output, Tensor? weight, Tensor mean, Tensor var, "
      "bool training, float eps, int activation, bool residual) -> (Tensor, Tensor, Tensor, Tensor)");
}

SACCADE_TORCH_CPU(m) {
  m.impl("batch_norm", SACCADE_BOX(batch_norm));
  m.impl("_batch_norm_backward", SACCADE_BOX(batch_norm_backward));
}

}  // namespace saccade::bind_torch
