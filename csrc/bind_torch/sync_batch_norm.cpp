#include "ops/sync_batch_norm.h"

#include "bind_torch/batch_norm.h"

namespace saccade::bind_torch {
namespace {

Tensor statistics(const Tensor& input) {
  check_sync_batch_norm_statistics(view(input));
  const Tensor ordered = in_layout_of(input, input);
  Tensor out = empty_sums(input);
  sync_batch_norm_statistics(view(ordered), view(out));
  return out;
}

Tensor apply(const Tensor& input, const Tensor& mean, const Tensor& var, const std::optional<Tensor>& weight,
             const std::optional<Tensor>& bias, double eps, const std::optional<Tensor>& residual,
             std::int64_t activation) {
  const NormInputs inputs(input, mean, var, weight, bias, false, eps, residual, activation,
                          check_sync_batch_norm_apply);
  Tensor out = empty_in_layout(inputs.input);
  sync_batch_norm_apply(inputs.arguments, view(out));
  return out;
}

Tensor backward_sums(const Tensor& grad, const Tensor& input, const std::optional<Tensor>& output, const Tensor& mean,
                     const Tensor& var, double eps, std::int64_t activation) {
  const NormGradientInputs inputs(grad, input, output, std::nullopt, mean, var, true, eps, activation);
  Tensor out = empty_sums(input);
  sync_batch_norm_backward_sums(inputs.arguments, view(out));
  return out;
}

std::tuple<Tensor, Tensor> backward_apply(const Tensor& grad, const Tensor& input, const std::optional<Tensor>& output,
                                          const std::optional<Tensor>& weight, const Tensor& mean, const Tensor& var,
                                          const Tensor& means, double eps, std::int64_t activation, bool residual) {
  const NormGradientInputs inputs(grad, input, output, weight, mean, var, true, eps, activation);
  const Tensor ordered = torch::stable::contiguous(means);
  NormGradients g(inputs, residual);
  sync_batch_norm_backward_apply(inputs.arguments, view(ordered), view(g.input), g.residual_view());
  return {g.input, g.residual};
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def("_sync_batch_norm_statistics(Tensor input) -> Tensor");
  m.def(
      "_sync_batch_norm_apply(Tensor input, Tensor mean, Tensor var, Tensor? weight, Tensor? bias, float eps, "
      "Tensor? residual, int activation) -> Tensor");
  m.def(
      "_sync_batch_norm_backward_sums(Tensor grad, Tensor input, Tensor? output, Tensor mean, Tensor var, float eps, "
      "int activation) -> Tensor");
  m.def(
      "_sync_batch_norm_backward_apply(Tensor grad, Tensor input, Tensor? output, Tensor? weight, Tensor mean, "
      "Tensor var, Tensor means, float eps, int activation, bool residual) -> (Tensor, Tensor)");
}

SACCADE_TORCH_CPU(m) {
  m.impl("_sync_batch_norm_statistics", SACCADE_BOX(statistics));
  m.impl("_sync_batch_norm_apply", SACCADE_BOX(apply));
  m.impl("_sync_batch_norm_backward_sums", SACCADE_BOX(backward_sums));
  m.impl("_sync_batch_norm_backward_apply", SACCADE_BOX(backward_apply));
}

}  // namespace saccade::bind_torch
