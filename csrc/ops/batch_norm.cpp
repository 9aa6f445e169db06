#include "ops/batch_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/dispatch.h"
#include "common/large_output.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/batch_norm.h"
#include "math/half.h"
#include "ops/norm_blocks.h"

namespace saccade {
namespace {

// A parameter in double, or the value that stands for its absence.
class Parameter {
 public:
  Parameter(const std::optional<TensorView>& view, double absent) : view_(view), absent_(absent) {}
  double operator[](std::int64_t c) const {
    if (!view_) return absent_;
    return dispatch_floating(view_->dtype, [&](auto tag) -> double {
      return to_float(view_->ptr<typename decltype(tag)::type>()[c * view_->stride(0)]);
    });
  }

 private:
  const std::optional<TensorView>& view_;
  const double absent_;
};

// `count` arrays by channel for the kernels; what lies behind their ends is zero.
template <class A>
class Channels {
 public:
  Channels(int count, std::int64_t channels) : pitch_(channels + kNormPadding), values_(count * pitch_) {
    std::fill_n(values_.data(), count * pitch_, A{});
  }
  A* operator[](int k) const { return values_.data() + k * pitch_; }

 private:
  const std::int64_t pitch_;
  const Scratch<A> values_;
};

// Past the caches: outputs of a third of the last-level cache and more, whose lines would be read only to be
// overwritten. Measured on 25.7 MB (32 MB of cache): streaming takes a quarter off.
constexpr std::int64_t kStreamBytes = std::int64_t{12} << 20;

template <class T>
bool worth_streaming(const NormShape& shape, std::int64_t numel) {
  using A = decltype(to_float(T{}));
  if (!std::is_same_v<T, A> || numel * static_cast<std::int64_t>(sizeof(T)) < kStreamBytes) return false;
  // Runs that begin within a register, or are short, would leave lines half written.
  constexpr std::int64_t kLine = 64 / sizeof(T);
  return shape.rows ? shape.channels % kLine == 0 : shape.inner >= 16 * kLine;
}

template <class T>
void forward(const BatchNormArguments& arguments, const NormBlocks& blocks, const TensorView& out,
             const TensorView& mean_out, const TensorView& var_out) {
  using A = decltype(to_float(T{}));
  const NormShape& shape = blocks.shape;
  const BatchNormFunctions<T>& kernels = batch_norm_kernels().get<T>(shape.rows);
  const Channels<A> by_channel(3, shape.channels);
  const NormForward<T> f = {arguments.input.ptr<T>(),
                            arguments.residual ? arguments.residual->ptr<T>() : nullptr,
                            out.ptr<T>(),
                            by_channel[0],
                            by_channel[1],
                            by_channel[2],
                            static_cast<Activation>(arguments.activation),
                            worth_streaming<T>(shape, out.numel())};
  const Parameter weight(arguments.weight, 1), bias(arguments.bias, 0);
  // The mean is rounded for the kernels; the shift makes up for it.
  const auto set = [&](std::int64_t c, double mean, double var) {
    const double scale = weight[c] / std::sqrt(var + arguments.eps);
    const A rounded = static_cast<A>(mean);
    mean_out.ptr<A>()[c] = rounded, var_out.ptr<A>()[c] = static_cast<A>(var);
    by_channel[0][c] = rounded, by_channel[1][c] = static_cast<A>(scale);
    // An infinite mean has no rounding to make up for, and must not put its NaN into evaluation.
    const double left = std::isfinite(mean) ? (rounded - mean) * scale : 0;
    by_channel[2][c] = static_cast<A>(bias[c] + left);
  };
  const auto apply = [&](std::int64_t group, std::int64_t k) { kernels.normalize(f, blocks.block(group, k)); };
  if (!arguments.training) {
    const Parameter mean(arguments.running_mean, 0), var(arguments.running_var, 0);
    for (std::int64_t c = 0; c < shape.channels; ++c) set(c, mean[c], var[c]);
    return blocks.each(apply);
  }
  const auto combine = batch_norm_kernels().combine<A>().moments;
  const std::vector<double> counts = blocks.counts();
  const Scratch<A> partials(blocks.groups * blocks.chunks * 3 * blocks.pitch);
  const Scratch<double> totals(2 * shape.channels);
  const auto partial = [&](std::int64_t group, std::int64_t k) {
    return partials.data() + (group * blocks.chunks + k) * 3 * blocks.pitch;
  };
  blocks.measure_then_apply(
      [&](std::int64_t group, std::int64_t k) {
        kernels.moments(f.x, blocks.block(group, k), partial(group, k), blocks.pitch);
      },
      [&](std::int64_t group, std::int64_t begin, std::int64_t end) {
        double *mean = totals.data() + group, *squares = totals.data() + shape.channels + group;
        combine(partial(group, 0) + begin, blocks.pitch, counts.data(), blocks.chunks, end - begin, mean + begin,
                squares + begin);
        for (std::int64_t c = begin; c < end; ++c)
          set(group + c, mean[c], squares[c] / static_cast<double>(shape.count));
      },
      apply);
}

template <class T>
void backward(const BatchNormGradient& arguments, const NormBlocks& blocks, const TensorView& grad_input,
              const TensorView& grad_weight, const TensorView& grad_bias,
              const std::optional<TensorView>& grad_residual) {
  using A = decltype(to_float(T{}));
  const NormShape& shape = blocks.shape;
  const BatchNormFunctions<T>& kernels = batch_norm_kernels().get<T>(shape.rows);
  const Channels<A> by_channel(4, shape.channels);
  const NormBackward<T> b = {arguments.grad.ptr<T>(),
                             arguments.input.ptr<T>(),
                             arguments.output ? arguments.output->ptr<T>() : nullptr,
                             grad_input.ptr<T>(),
                             grad_residual ? grad_residual->ptr<T>() : nullptr,
                             by_channel[0],
                             by_channel[1],
                             arguments.training ? by_channel[2] : nullptr,
                             by_channel[3],
                             static_cast<Activation>(arguments.activation),
                             worth_streaming<T>(shape, grad_input.numel())};
  const Parameter weight(arguments.weight, 1);
  const double share = 1 / static_cast<double>(shape.count);
  const auto inverse_deviation = [&](std::int64_t c) {
    return 1 / std::sqrt(static_cast<double>(arguments.var.ptr<A>()[c]) + arguments.eps);
  };
  for (std::int64_t c = 0; c < shape.channels; ++c) {
    by_channel[0][c] = arguments.mean.ptr<A>()[c];
    by_channel[1][c] = static_cast<A>(weight[c] * inverse_deviation(c));
  }
  const auto combine = batch_norm_kernels().combine<A>().sums;
  const Scratch<A> partials(blocks.groups * blocks.chunks * 2 * blocks.pitch);
  const Scratch<double> totals(2 * shape.channels);
  const auto partial = [&](std::int64_t group, std::int64_t k) {
    return partials.data() + (group * blocks.chunks + k) * 2 * blocks.pitch;
  };
  blocks.measure_then_apply(
      [&](std::int64_t group, std::int64_t k) {
        const NormBlock block = blocks.block(group, k);
        kernels.reduce(b, block, partial(group, k), blocks.pitch);
        // In evaluation the gradient does not wait for the sums, so that everything is read from memory once.
        if (!arguments.training) kernels.gradient(b, block);
      },
      [&](std::int64_t group, std::int64_t begin, std::int64_t end) {
        double *sum = totals.data() + group, *product = totals.data() + shape.channels + group;
        combine(partial(group, 0) + begin, blocks.pitch, blocks.chunks, end - begin, sum + begin, product + begin);
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t c = group + i;
          const double inverse = inverse_deviation(c), scale = weight[c] * inverse;
          grad_weight.ptr<A>()[c] = static_cast<A>(product[i] * inverse);
          grad_bias.ptr<A>()[c] = static_cast<A>(sum[i]);
          by_channel[2][c] = static_cast<A>(-scale * inverse * inverse * product[i] * share);
          by_channel[3][c] = static_cast<A>(-scale * sum[i] * share);
        }
      },
      [&](std::int64_t group, std::int64_t k) {
        if (arguments.training) kernels.gradient(b, blocks.block(group, k));
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
