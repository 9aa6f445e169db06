#include "ops/sync_batch_norm.h"

#include "bind_torch/batch_norm.h"
#include "common/dispatch.h"
#include "cuda/common/torch.h"
#include "cuda/kernels/sync_batch_norm.h"
#include "math/half.h"

namespace saccade::cuda {
namespace {

using bind_torch::empty_in_layout, bind_torch::empty_sums, bind_torch::in_layout_of;
using bind_torch::NormGradientInputs, bind_torch::NormGradients, bind_torch::NormInputs;

Tensor statistics(const Tensor& input) {
  check_sync_batch_norm_statistics(view(input));
  const DeviceOf device(input);
  const Tensor ordered = in_layout_of(input, input), out = empty_sums(input);
  const TensorView seen = view(ordered);
  if (seen.numel() == 0) {
    fill_zero(out, device.stream());
    return out;
  }
  const NormShape shape = norm_shape(seen);
  dispatch_floating(seen.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const Tensor partials = scratch<A>(norm_chunks(shape).chunks * 3 * shape.channels, input);
    launch_sync_batch_norm_statistics<T, A>(shape, seen.template ptr<T>(), view(partials).template ptr<A>(),
                                            view(out).template ptr<double>(), device.stream());
  });
  return out;
}

Tensor apply(const Tensor& input, const Tensor& mean, const Tensor& var, const std::optional<Tensor>& weight,
             const std::optional<Tensor>& bias, double eps, const std::optional<Tensor>& residual,
             std::int64_t activation) {
  const DeviceOf device(input);
  const Tensor means = torch::stable::contiguous(mean), vars = torch::stable::contiguous(var);
  const NormInputs inputs(input, means, vars, weight, bias, false, eps, residual, activation,
                          check_sync_batch_norm_apply);
  const BatchNormArguments& a = inputs.arguments;
  const Tensor out = empty_in_layout(inputs.input);
  if (a.input.numel() == 0) return out;
  const NormShape shape = norm_shape(a.input);
  dispatch_floating(a.input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const Tensor scales = scratch<A>(3 * shape.channels, input);
    launch_sync_batch_norm_apply<T, A>(shape, a.input.template ptr<T>(),
                                       a.residual ? a.residual->template ptr<T>() : nullptr,
                                       a.running_mean->template ptr<double>(), a.running_var->template ptr<double>(),
                                       channel_parameter(a.weight, a.input), channel_parameter(a.bias, a.input), eps,
                                       static_cast<Activation>(activation), view(scales).template ptr<A>(),
                                       view(out).template ptr<T>(), device.stream());
  });
  return out;
}

Tensor backward_sums(const Tensor& grad, const Tensor& input, const std::optional<Tensor>& output, const Tensor& mean,
                     const Tensor& var, double eps, std::int64_t activation) {
  const DeviceOf device(input);
  const NormGradientInputs inputs(grad, input, output, std::nullopt, mean, var, true, eps, activation);
  const BatchNormGradient& a = inputs.arguments;
  const Tensor out = empty_sums(input);
  if (a.input.numel() == 0) {
    fill_zero(out, device.stream());
    return out;
  }
  const NormShape shape = norm_shape(a.input);
  dispatch_floating(a.input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const Tensor partials = scratch<A>(norm_chunks(shape).chunks * 2 * shape.channels, input);
    launch_sync_batch_norm_backward_sums<T, A>(
        shape, a.grad.template ptr<T>(), a.input.template ptr<T>(), a.output ? a.output->template ptr<T>() : nullptr,
        a.mean.template ptr<A>(), a.var.template ptr<A>(), eps, static_cast<Activation>(activation),
        view(partials).template ptr<A>(), view(out).template ptr<double>(), device.stream());
  });
  return out;
}

std::tuple<Tensor, Tensor> backward_apply(const Tensor& grad, const Tensor& input, const std::optional<Tensor>& output,
                                          const std::optional<Tensor>& weight, const Tensor& mean, const Tensor& var,
                                          const Tensor& means, double eps, std::int64_t activation, bool residual) {
  const DeviceOf device(input);
  const NormGradientInputs inputs(grad, input, output, weight, mean, var, true, eps, activation);
  const BatchNormGradient& a = inputs.arguments;
  const Tensor ordered = torch::stable::contiguous(means);
  check_sync_batch_norm_backward_apply(a, view(ordered));
  const NormGradients g(inputs, residual);
  if (a.input.numel() == 0) return {g.input, g.residual};
  const NormShape shape = norm_shape(a.input);
  dispatch_floating(a.input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const Tensor scales = scratch<A>(3 * shape.channels, input);
    launch_sync_batch_norm_backward_apply<T, A>(
        shape, a.grad.template ptr<T>(), a.input.template ptr<T>(), a.output ? a.output->template ptr<T>() : nullptr,
        channel_parameter(a.weight, a.input), a.mean.template ptr<A>(), a.var.template ptr<A>(),
        view(ordered).template ptr<double>(), eps, static_cast<Activation>(activation), view(scales).template ptr<A>(),
        view(g.input).template ptr<T>(), residual ? view(g.residual).template ptr<T>() : nullptr, device.stream());
  });
  return {g.input, g.residual};
}

}  // namespace

SACCADE_TORCH_CUDA(m) {
  m.impl("_sync_batch_norm_statistics", SACCADE_BOX(statistics));
  m.impl("_sync_batch_norm_apply", SACCADE_BOX(apply));
  m.impl("_sync_batch_norm_backward_sums", SACCADE_BOX(backward_sums));
  m.impl("_sync_batch_norm_backward_apply", SACCADE_BOX(backward_apply));
}

}  // namespace saccade::cuda
