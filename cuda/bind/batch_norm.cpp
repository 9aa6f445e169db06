#include "bind_torch/batch_norm.h"

#include "common/dispatch.h"
#include "cuda/common/torch.h"
#include "cuda/kernels/batch_norm.h"
#include "math/half.h"

namespace saccade::cuda {
namespace {

using bind_torch::NormGradientInputs, bind_torch::NormGradients, bind_torch::NormInputs, bind_torch::NormOutputs;

std::tuple<Tensor, Tensor, Tensor> batch_norm(const Tensor& input, const std::optional<Tensor>& running_mean,
                                              const std::optional<Tensor>& running_var,
                                              const std::optional<Tensor>& weight, const std::optional<Tensor>& bias,
                                              bool training, double eps, const std::optional<Tensor>& residual,
                                              std::int64_t activation) {
  const DeviceOf device(input);
  const NormInputs inputs(input, running_mean, running_var, weight, bias, training, eps, residual, activation);
  const BatchNormArguments& a = inputs.arguments;
  const NormOutputs outputs(inputs);
  if (a.input.numel() == 0) {  // no statistics to speak of
    fill_zero(outputs.mean, device.stream());
    fill_zero(outputs.var, device.stream());
    return {outputs.out, outputs.mean, outputs.var};
  }
  const NormShape shape = norm_shape(a.input);
  const NormParameters parameters = {channel_parameter(a.running_mean, a.input),
                                     channel_parameter(a.running_var, a.input), channel_parameter(a.weight, a.input),
                                     channel_parameter(a.bias, a.input)};
  dispatch_floating(a.input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const Tensor scales = scratch<A>(2 * shape.channels, input);
    const Tensor partials = scratch<A>(training ? norm_chunks(shape).chunks * 3 * shape.channels : 0, input);
    launch_batch_norm<T, A>(shape, a.input.template ptr<T>(), a.residual ? a.residual->template ptr<T>() : nullptr,
                            parameters, training, eps, static_cast<Activation>(activation),
                            view(partials).template ptr<A>(), view(scales).template ptr<A>(),
                            view(outputs.mean).template ptr<A>(), view(outputs.var).template ptr<A>(),
                            view(outputs.out).template ptr<T>(), device.stream());
  });
  return {outputs.out, outputs.mean, outputs.var};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> batch_norm_backward(const Tensor& grad, const Tensor& input,
                                                               const std::optional<Tensor>& output,
                                                               const std::optional<Tensor>& weight, const Tensor& mean,
                                                               const Tensor& var, bool training, double eps,
                                                               std::int64_t activation, bool residual) {
  const DeviceOf device(input);
  const NormGradientInputs inputs(grad, input, output, weight, mean, var, training, eps, activation);
  const BatchNormGradient& a = inputs.arguments;
  const NormGradients g(inputs, residual);
  if (a.input.numel() == 0) {
    fill_zero(g.weight, device.stream());
    fill_zero(g.bias, device.stream());
    return {g.input, g.weight, g.bias, g.residual};
  }
  const NormShape shape = norm_shape(a.input);
  dispatch_floating(a.input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const Tensor scales = scratch<A>(3 * shape.channels, input);
    const Tensor partials = scratch<A>(norm_chunks(shape).chunks * 2 * shape.channels, input);
    launch_batch_norm_backward<T, A>(
        shape, a.grad.template ptr<T>(), a.input.template ptr<T>(), a.output ? a.output->template ptr<T>() : nullptr,
        channel_parameter(a.weight, a.input), a.mean.template ptr<A>(), a.var.template ptr<A>(), training, eps,
        static_cast<Activation>(activation), view(partials).template ptr<A>(), view(scales).template ptr<A>(),
        view(g.input).template ptr<T>(), view(g.weight).template ptr<A>(), view(g.bias).template ptr<A>(),
        residual ? view(g.residual).template ptr<T>() : nullptr, device.stream());
  });
  return {g.input, g.weight, g.bias, g.residual};
}

}  // namespace

SACCADE_TORCH_CUDA(m) {
  m.impl("batch_norm", SACCADE_BOX(batch_norm));
  m.impl("_batch_norm_backward", SACCADE_BOX(batch_norm_backward));
}

}  // namespace saccade::cuda
