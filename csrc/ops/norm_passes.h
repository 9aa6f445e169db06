// What batch_norm and its parts (sync_batch_norm.h) share: the kernels with their arguments by channel, and the sums
// over blocks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

#include "common/dispatch.h"
#include "common/scratch.h"
#include "kernels/batch_norm.h"
#include "math/half.h"
#include "ops/batch_norm.h"
#include "ops/norm_blocks.h"

namespace saccade {

// A parameter in double, or the value that stands for its absence. Borrows the view.
class NormParameter {
 public:
  NormParameter(const std::optional<TensorView>& view, double absent) : view_(view), absent_(absent) {}
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
class NormChannels {
 public:
  NormChannels(int count, std::int64_t channels) : pitch_(channels + kNormPadding), values_(count * pitch_) {
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
bool worth_streaming(const NormShape& shape) {
  using A = decltype(to_float(T{}));
  const std::int64_t bytes = shape.count * shape.channels * static_cast<std::int64_t>(sizeof(T));
  if (!std::is_same_v<T, A> || bytes < kStreamBytes) return false;
  // Runs that begin within a register, or are short, would leave lines half written.
  constexpr std::int64_t kLine = 64 / sizeof(T);
  return shape.rows ? shape.channels % kLine == 0 : shape.inner >= 16 * kLine;
}

// The elements, once the statistics of their channel are set. Borrows its arguments, as does the next one.
template <class T>
class NormForwardPass {
 public:
  using A = decltype(to_float(T{}));
  NormForwardPass(const BatchNormArguments& arguments, const NormBlocks& blocks, const TensorView& out)
      : blocks_(blocks),
        kernels_(batch_norm_kernels().get<T>(blocks.shape.rows)),
        by_channel_(3, blocks.shape.channels),
        weight_(arguments.weight, 1),
        bias_(arguments.bias, 0),
        eps_(arguments.eps),
        forward_{arguments.input.ptr<T>(),
                 arguments.residual ? arguments.residual->ptr<T>() : nullptr,
                 out.ptr<T>(),
                 by_channel_[0],
                 by_channel_[1],
                 by_channel_[2],
                 static_cast<Activation>(arguments.activation),
                 worth_streaming<T>(blocks.shape)} {}

  // The mean is rounded for the kernels; the shift makes up for it.
  void set(std::int64_t c, double mean, double var) const {
    const double scale = weight_[c] / std::sqrt(var + eps_);
    const A rounded = static_cast<A>(mean);
    by_channel_[0][c] = rounded, by_channel_[1][c] = static_cast<A>(scale);
    // An infinite mean has no rounding to make up for, and must not put its NaN into evaluation.
    const double left = std::isfinite(mean) ? (rounded - mean) * scale : 0;
    by_channel_[2][c] = static_cast<A>(bias_[c] + left);
  }
  void apply(std::int64_t group, std::int64_t k) const { kernels_.normalize(forward_, blocks_.block(group, k)); }

 private:
  const NormBlocks& blocks_;
  const BatchNormFunctions<T>& kernels_;
  const NormChannels<A> by_channel_;
  const NormParameter weight_, bias_;
  const double eps_;
  const NormForward<T> forward_;
};

// finish(channel, mean, sum of squared deviations from it) for every channel, then apply(group, k) for its blocks.
template <class T, class Finish, class Apply>
void measure_moments(const T* x, const NormBlocks& blocks, const Finish& finish, const Apply& apply) {
  using A = decltype(to_float(T{}));
  const BatchNormFunctions<T>& kernels = batch_norm_kernels().get<T>(blocks.shape.rows);
  const auto combine = batch_norm_kernels().combine<A>().moments;
  const std::vector<double> counts = blocks.counts();
  const Scratch<A> partials(blocks.groups * blocks.chunks * 3 * blocks.pitch);
  const Scratch<double> totals(2 * blocks.shape.channels);
  const auto partial = [&](std::int64_t group, std::int64_t k) {
    return partials.data() + (group * blocks.chunks + k) * 3 * blocks.pitch;
  };
  blocks.measure_then_apply(
      [&](std::int64_t group, std::int64_t k) {
        kernels.moments(x, blocks.block(group, k), partial(group, k), blocks.pitch);
      },
      [&](std::int64_t group, std::int64_t begin, std::int64_t end) {
        double *mean = totals.data() + group, *squares = totals.data() + blocks.shape.channels + group;
        combine(partial(group, 0) + begin, blocks.pitch, counts.data(), blocks.chunks, end - begin, mean + begin,
                squares + begin);
        for (std::int64_t c = begin; c < end; ++c) finish(group + c, mean[c], squares[c]);
      },
      apply);
}

template <class T>
class NormBackwardPass {
 public:
  using A = decltype(to_float(T{}));
  // grad_input: null where only sums are wanted.
  NormBackwardPass(const BatchNormGradient& arguments, const NormBlocks& blocks,
                   const std::optional<TensorView>& grad_input, const std::optional<TensorView>& grad_residual)
      : blocks_(blocks),
        arguments_(arguments),
        kernels_(batch_norm_kernels().get<T>(blocks.shape.rows)),
        by_channel_(4, blocks.shape.channels),
        weight_(arguments.weight, 1),
        gradient_{arguments.grad.ptr<T>(),
                  arguments.input.ptr<T>(),
                  arguments.output ? arguments.output->ptr<T>() : nullptr,
                  grad_input ? grad_input->ptr<T>() : nullptr,
                  grad_residual ? grad_residual->ptr<T>() : nullptr,
                  by_channel_[0],
                  by_channel_[1],
                  by_channel_[2],
                  by_channel_[3],
                  static_cast<Activation>(arguments.activation),
                  worth_streaming<T>(blocks.shape)},
        sums_(gradient_),
        rest_(gradient_) {
    for (std::int64_t c = 0; c < blocks.shape.channels; ++c) {
      by_channel_[0][c] = arguments.mean.ptr<A>()[c];
      by_channel_[1][c] = static_cast<A>(weight_[c] * inverse_deviation(c));
    }
    if (arguments.training) sums_.grad_x = nullptr;
    if (!gradient_.grad_residual) return;
    if constexpr (std::is_same_v<T, A>) {
      rest_.grad = gradient_.grad_residual;  // g, exactly
      rest_.out = nullptr, rest_.activation = Activation::kNone, rest_.grad_residual = nullptr;
    } else if (arguments.training) {
      sums_.grad_residual = nullptr;
    }
  }

  // The means over the batch of g and of g times the normalised input.
  void set(std::int64_t c, double mean, double mean_product) const {
    const double inverse = inverse_deviation(c), scale = weight_[c] * inverse;
    by_channel_[2][c] = static_cast<A>(-scale * inverse * mean_product);
    by_channel_[3][c] = static_cast<A>(-scale * mean);
  }
  // A block of all gradients, without or after `sums`.
  void apply(std::int64_t group, std::int64_t k) const { kernels_.gradient(gradient_, blocks_.block(group, k)); }
  void apply_rest(std::int64_t group, std::int64_t k) const { kernels_.gradient(rest_, blocks_.block(group, k)); }

  // finish(channel, sum of g, sum of g times the normalised input) for every channel, then apply(group, k) for its
  // blocks. What does not wait for the sums, in evaluation all, is written beside them, so that what it is made of is
  // read from memory once: `apply_rest` is for what is left in training.
  template <class Finish, class Apply>
  void sums(const Finish& finish, const Apply& apply) const {
    const auto combine = batch_norm_kernels().combine<A>().sums;
    const Scratch<A> partials(blocks_.groups * blocks_.chunks * 2 * blocks_.pitch);
    const Scratch<double> totals(2 * blocks_.shape.channels);
    const auto partial = [&](std::int64_t group, std::int64_t k) {
      return partials.data() + (group * blocks_.chunks + k) * 2 * blocks_.pitch;
    };
    blocks_.measure_then_apply(
        [&](std::int64_t group, std::int64_t k) {
          kernels_.reduce(sums_, blocks_.block(group, k), partial(group, k), blocks_.pitch);
        },
        [&](std::int64_t group, std::int64_t begin, std::int64_t end) {
          double *sum = totals.data() + group, *product = totals.data() + blocks_.shape.channels + group;
          combine(partial(group, 0) + begin, blocks_.pitch, blocks_.chunks, end - begin, sum + begin, product + begin);
          for (std::int64_t c = begin; c < end; ++c)
            finish(group + c, sum[c], product[c] * inverse_deviation(group + c));
        },
        apply);
  }

 private:
  double inverse_deviation(std::int64_t c) const {
    return 1 / std::sqrt(static_cast<double>(arguments_.var.ptr<A>()[c]) + arguments_.eps);
  }

  const NormBlocks& blocks_;
  const BatchNormGradient& arguments_;
  const BatchNormFunctions<T>& kernels_;
  const NormChannels<A> by_channel_;
  const NormParameter weight_;
  const NormBackward<T> gradient_;
  NormBackward<T> sums_, rest_;
};

}  // namespace saccade
