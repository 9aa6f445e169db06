#include "ops/sync_batch_norm.h"

#include <algorithm>

#include "common/dispatch.h"
#include "common/large_output.h"
#include "math/half.h"
#include "ops/norm_passes.h"

namespace saccade {
namespace {

constexpr auto kNothing = [](std::int64_t, std::int64_t) {};

}  // namespace

void sync_batch_norm_statistics(const TensorView& input, const TensorView& out) {
  check_sync_batch_norm_statistics(input);
  double* values = out.ptr<double>();
  if (input.numel() == 0) {
    std::fill_n(values, out.numel(), 0.0);
    return;
  }
  dispatch_floating(input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const NormBlocks blocks(norm_shape(input));
    measure_moments(
        input.ptr<T>(), blocks,
        [&](std::int64_t c, double mean, double squares) {
          values[c] = mean, values[blocks.shape.channels + c] = squares;
        },
        kNothing);
  });
}

void sync_batch_norm_apply(const BatchNormArguments& arguments, const TensorView& out) {
  check_sync_batch_norm_apply(arguments);
  if (out.numel() == 0) return;
  dispatch_floating(arguments.input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    advise_huge_pages(out.data, out.numel() * sizeof(T));
    const NormBlocks blocks(norm_shape(arguments.input));
    const NormForwardPass<T> pass(arguments, blocks, out);
    const NormParameter mean(arguments.running_mean, 0), var(arguments.running_var, 0);
    for (std::int64_t c = 0; c < blocks.shape.channels; ++c) pass.set(c, mean[c], var[c]);
    blocks.each([&](std::int64_t group, std::int64_t k) { pass.apply(group, k); });
  });
}

void sync_batch_norm_backward_sums(const BatchNormGradient& arguments, const TensorView& out) {
  check_batch_norm_backward(arguments);
  double* values = out.ptr<double>();
  if (arguments.input.numel() == 0) {
    std::fill_n(values, out.numel(), 0.0);
    return;
  }
  dispatch_floating(arguments.input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const NormBlocks blocks(norm_shape(arguments.input));
    const NormBackwardPass<T> pass(arguments, blocks, {}, {});
    pass.sums([&](std::int64_t c, double sum,
                  double product) { values[c] = sum, values[blocks.shape.channels + c] = product; },
              kNothing);
  });
}

void sync_batch_norm_backward_apply(const BatchNormGradient& arguments, const TensorView& means,
                                    const TensorView& grad_input, const std::optional<TensorView>& grad_residual) {
  check_sync_batch_norm_backward_apply(arguments, means);
  if (grad_input.numel() == 0) return;
  dispatch_floating(arguments.input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    advise_huge_pages(grad_input.data, grad_input.numel() * sizeof(T));
    const NormBlocks blocks(norm_shape(arguments.input));
    const NormBackwardPass<T> pass(arguments, blocks, grad_input, grad_residual);
    const double* values = means.ptr<double>();
    const std::int64_t channels = blocks.shape.channels;
    for (std::int64_t c = 0; c < channels; ++c) pass.set(c, values[c], values[channels + c]);
    blocks.each([&](std::int64_t group, std::int64_t k) { pass.apply(group, k); });
  });
}

}  // namespace saccade
