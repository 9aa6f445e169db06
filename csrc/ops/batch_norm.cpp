#include "ops/batch_norm.h"

#include <algorithm>

#include "common/dispatch.h"
#include "common/large_output.h"
#include "math/half.h"
#include "ops/norm_passes.h"

namespace saccade {
namespace {

template <class T>
void forward(const BatchNormArguments& arguments, const NormBlocks& blocks, const TensorView& out,
             const TensorView& mean_out, const TensorView& var_out) {
  using A = decltype(to_float(T{}));
  const NormForwardPass<T> pass(arguments, blocks, out);
  const auto set = [&](std::int64_t c, double mean, double var) {
    mean_out.ptr<A>()[c] = static_cast<A>(mean), var_out.ptr<A>()[c] = static_cast<A>(var);
    pass.set(c, mean, var);
  };
  const auto apply = [&](std::int64_t group, std::int64_t k) { pass.apply(group, k); };
  if (!arguments.training) {
    const NormParameter mean(arguments.running_mean, 0), var(arguments.running_var, 0);
    for (std::int64_t c = 0; c < blocks.shape.channels; ++c) set(c, mean[c], var[c]);
    return blocks.each(apply);
  }
  const auto count = static_cast<double>(blocks.shape.count);
  measure_moments(
      arguments.input.ptr<T>(), blocks,
      [&](std::int64_t c, double mean, double squares) { set(c, mean, squares / count); }, apply);
}

template <class T>
void backward(const BatchNormGradient& arguments, const NormBlocks& blocks, const TensorView& grad_input,
              const TensorView& grad_weight, const TensorView& grad_bias,
              const std::optional<TensorView>& grad_residual) {
  using A = decltype(to_float(T{}));
  const NormBackwardPass<T> pass(arguments, blocks, grad_input, grad_residual);
  const double share = 1 / static_cast<double>(blocks.shape.count);
  pass.sums(
      [&](std::int64_t c, double sum, double product) {
        grad_weight.ptr<A>()[c] = static_cast<A>(product), grad_bias.ptr<A>()[c] = static_cast<A>(sum);
        pass.set(c, sum * share, product * share);
      },
      [&](std::int64_t group, std::int64_t k) {
        if (arguments.training) pass.apply_rest(group, k);
      });
}

}  // namespace

void batch_norm(const BatchNormArguments& arguments, const TensorView& out, const TensorView& mean,
                const TensorView& var) {
  check_batch_norm(arguments);
  dispatch_floating(arguments.input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    if (out.numel() == 0) {  // no statistics to speak of
      std::fill_n(mean.ptr<A>(), mean.numel(), A{});
      std::fill_n(var.ptr<A>(), var.numel(), A{});
      return;
    }
    advise_huge_pages(out.data, out.numel() * sizeof(T));
    forward<T>(arguments, NormBlocks(norm_shape(arguments.input)), out, mean, var);
  });
}

void batch_norm_backward(const BatchNormGradient& arguments, const TensorView& grad_input,
                         const TensorView& grad_weight, const TensorView& grad_bias,
                         const std::optional<TensorView>& grad_residual) {
  check_batch_norm_backward(arguments);
  dispatch_floating(arguments.input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    if (grad_input.numel() == 0) {
      std::fill_n(grad_weight.ptr<A>(), grad_weight.numel(), A{});
      std::fill_n(grad_bias.ptr<A>(), grad_bias.numel(), A{});
      return;
    }
    advise_huge_pages(grad_input.data, grad_input.numel() * sizeof(T));
    if (grad_residual) advise_huge_pages(grad_residual->data, grad_input.numel() * sizeof(T));
    backward<T>(arguments, NormBlocks(norm_shape(arguments.input)), grad_input, grad_weight, grad_bias, grad_residual);
  });
}

}  // namespace saccade
