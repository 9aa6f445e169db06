// Batch normalisation in three kernels: sums by chunk and channel (batch_norm_chunk.cuh), sums by channel with what
// follows from them (a thread per channel, in double), and the elements (a thread per 16 bytes). As on the CPU, the
// moments of a chunk are taken about the mean of its first sixteenth (csrc/kernels/batch_norm.cpp says why that is
// enough), and x - mean comes before the product.
#include <cmath>

#include "cuda/common/epilogue.cuh"
#include "cuda/common/pack.cuh"
#include "cuda/kernels/batch_norm.h"
#include "cuda/kernels/batch_norm_chunk.cuh"
#include "math/half.h"

namespace saccade::cuda {
namespace {

constexpr int kThreads = 256;

// As `activated`.
template <class A>
__device__ A through_activation(Activation kind, A grad, A y) {
  switch (kind) {
    case Activation::kRelu: return activation_gradient<Activation::kRelu>(grad, y);
    case Activation::kLeakyRelu: return activation_gradient<Activation::kLeakyRelu>(grad, y);
    case Activation::kElu: return activation_gradient<Activation::kElu>(grad, y);
    case Activation::kSigmoid: return activation_gradient<Activation::kSigmoid>(grad, y);
    case Activation::kNone: break;
  }
  return grad;
}

// ---- Forward --------------------------------------------------------------------------------------------------------

template <class T, class A, bool kRows>
__global__ void __launch_bounds__(kNormThreads)
    batch_norm_moments_kernel(const T* x, NormShape shape, NormChunks chunks, A* partials) {
  const ChunkWalk<kRows> walk(shape, chunks);
  const std::int64_t sample = (walk.count + 15) / 16;
  A sum{};
  walk.each(sample, [&](std::int64_t i) { sum += to_float(x[i]); });
  const A pivot = channel_sum<kRows>(sum) / static_cast<A>(sample);
  A first{}, second{};
  walk.each(walk.count, [&](std::int64_t i) {
    const A deviation = to_float(x[i]) - pivot;
    first += deviation;
    second = std::fma(deviation, deviation, second);
  });
  first = channel_sum<kRows>(first);
  second = channel_sum<kRows>(second);
  if (!walk.writes()) return;
  A* partial = partials + walk.chunk * 3 * shape.channels + walk.channel;
  partial[0] = pivot, partial[shape.channels] = first, partial[2 * shape.channels] = second;
}

// A thread per channel: mean and variance, scales[c] = weight / deviation, scales[channels + c] = shift.
template <class T, class A>
__global__ void __launch_bounds__(kThreads)
    batch_norm_finish_kernel(NormShape shape, NormChunks chunks, const A* partials, NormParameters parameters,
                             bool training, double eps, A* scales, A* mean, A* var) {
  const std::int64_t c = thread_index();
  if (c >= shape.channels) return;
  double center = 0, variance = 0;
  if (training) {
    double count = 0, spread = 0;
    for (std::int64_t k = 0; k < chunks.chunks; ++k) {
      const A* partial = partials + k * 3 * shape.channels + c;
      const std::int64_t left = shape.count - k * chunks.step;
      const double n = static_cast<double>(left < chunks.step ? left : chunks.step), total = count + n;
      const double sum = partial[shape.channels], share = sum / n, delta = partial[0] + share - center;
      spread += partial[2 * shape.channels] - sum * share + delta * delta * (count * n / total);
      center += delta * (n / total);
      count = total;
    }
    variance = spread / count;
  } else {
    center = parameter_at<T, A>(parameters.running_mean, c, 0);
    variance = parameter_at<T, A>(parameters.running_var, c, 0);
  }
  const double scale = parameter_at<T, A>(parameters.weight, c, 1) / std::sqrt(variance + eps);
  const A rounded = static_cast<A>(center);
  const double left = center - center == 0 ? (rounded - center) * scale : 0.0;  // 0 where it is not finite
  mean[c] = rounded, var[c] = static_cast<A>(variance);
  scales[c] = static_cast<A>(scale);
  scales[shape.channels + c] = static_cast<A>(parameter_at<T, A>(parameters.bias, c, 0) + left);
}

// Channel of an element.
__device__ std::int64_t channel_of(const NormShape& shape, std::int64_t i) {
  const std::int64_t total = shape.count * shape.channels, inner = shape.rows ? 1 : shape.inner;
  if (total < (std::int64_t{1} << 31))
    return static_cast<unsigned>(i) / static_cast<unsigned>(inner) % static_cast<unsigned>(shape.channels);
  return i / inner % shape.channels;
}

template <class T, class A, int N>
__global__ void __launch_bounds__(kThreads)
    batch_norm_kernel(NormShape shape, const T* x, const T* residual, const A* mean, const A* scales,
                      Activation activation, T* out) {
  const std::int64_t i = thread_index() * N;
  if (i >= shape.count * shape.channels) return;
  const Pack<T, N> in = load_pack<N>(x + i);
  Pack<T, N> add{}, result;
  if (residual) add = load_pack<N>(residual + i);
  const std::int64_t first = channel_of(shape, i);
  for (int k = 0; k < N; ++k) {
    const std::int64_t c = shape.rows ? first + k : first;
    A y = std::fma(to_float(in.value[k]) - mean[c], scales[c], scales[shape.channels + c]);
    if (residual) y += to_float(add.value[k]);
    result.value[k] = from_float<T>(activated(activation, y));
  }
  store_pack(out + i, result);
}

// ---- Backward -------------------------------------------------------------------------------------------------------

template <class T, class A, bool kRows>
__global__ void __launch_bounds__(kNormThreads)
    batch_norm_reduce_kernel(NormShape shape, NormChunks chunks, const T* grad, const T* x, const T* out, const A* mean,
                             Activation activation, A* partials) {
  const ChunkWalk<kRows> walk(shape, chunks);
  A first{}, second{};
  const A center = walk.channel < shape.channels ? mean[walk.channel] : A{};
  walk.each(walk.count, [&](std::int64_t i) {
    A g = to_float(grad[i]);
    if (out) g = through_activation(activation, g, static_cast<A>(to_float(out[i])));
    first += g;
    second = std::fma(g, to_float(x[i]) - center, second);
  });
  first = channel_sum<kRows>(first);
  second = channel_sum<kRows>(second);
  if (!walk.writes()) return;
  A* partial = partials + walk.chunk * 2 * shape.channels + walk.channel;
  partial[0] = first, partial[shape.channels] = second;
}

// A thread per channel: grad_x = g * scales[c] + (x - mean) * scales[channels + c] + scales[2 channels + c].
template <class T, class A>
__global__ void __launch_bounds__(kThreads)
    batch_norm_finish_backward_kernel(NormShape shape, NormChunks chunks, const A* partials, ChannelParameter weight,
                                      const A* var, double eps, A* scales, A* grad_weight, A* grad_bias) {
  const std::int64_t c = thread_index();
  if (c >= shape.channels) return;
  double sum = 0, product = 0;
  for (std::int64_t k = 0; k < chunks.chunks; ++k) {
    sum += partials[2 * k * shape.channels + c];
    product += partials[(2 * k + 1) * shape.channels + c];
  }
  const double inverse = 1 / std::sqrt(static_cast<double>(var[c]) + eps);
  const double scale = parameter_at<T, A>(weight, c, 1) * inverse, share = 1 / static_cast<double>(shape.count);
  grad_weight[c] = static_cast<A>(product * inverse);
  grad_bias[c] = static_cast<A>(sum);
  scales[c] = static_cast<A>(scale);
  scales[shape.channels + c] = static_cast<A>(-scale * inverse * inverse * product * share);
  scales[2 * shape.channels + c] = static_cast<A>(-scale * sum * share);
}

template <class T, class A, int N>
__global__ void __launch_bounds__(kThreads)
    batch_norm_backward_kernel(NormShape shape, const T* grad, const T* x, const T* out, const A* mean, const A* scales,
                               bool training, Activation activation, T* grad_input, T* grad_residual) {
  const std::int64_t i = thread_index() * N;
  if (i >= shape.count * shape.channels) return;
  const Pack<T, N> from = load_pack<N>(grad + i);
  Pack<T, N> in{}, y{}, result, passed;
  if (training) in = load_pack<N>(x + i);
  if (out) y = load_pack<N>(out + i);
  const std::int64_t first = channel_of(shape, i);
  for (int k = 0; k < N; ++k) {
    const std::int64_t c = shape.rows ? first + k : first;
    A g = to_float(from.value[k]);
    if (out) g = through_activation(activation, g, static_cast<A>(to_float(y.value[k])));
    passed.value[k] = from_float<T>(g);
    A value = g * scales[c];
    if (training)
      value =
          std::fma(to_float(in.value[k]) - mean[c], scales[shape.channels + c], value + scales[2 * shape.channels + c]);
    result.value[k] = from_float<T>(value);
  }
  store_pack(grad_input + i, result);
  if (grad_residual) store_pack(grad_residual + i, passed);
}

// The length that packs must divide: they stay within a plane, or within a row.
std::int64_t run_of(const NormShape& shape) { return shape.rows ? shape.channels : shape.inner; }

}  // namespace

NormChunks norm_chunks(const NormShape& shape) {
  // About 1,024 blocks, as many as fill the device, of at least 2,048 elements.
  const std::int64_t columns = shape.rows ? (shape.channels + kWarp - 1) / kWarp : shape.channels;
  const std::int64_t least = shape.rows ? 2048 / kWarp : 2048;
  std::int64_t wanted = (1024 + columns - 1) / columns;
  if (wanted > 128) wanted = 128;
  std::int64_t step = (shape.count + wanted - 1) / wanted;
  if (step < least) step = least;
  return {(shape.count + step - 1) / step, step};
}

template <class T, class A>
void launch_batch_norm(const NormShape& shape, const T* x, const T* residual, const NormParameters& parameters,
                       bool training, double eps, Activation activation, A* partials, A* scales, A* mean, A* var,
                       T* out, cudaStream_t stream) {
  const NormChunks chunks = norm_chunks(shape);
  if (training) {
    const auto kernel = shape.rows ? batch_norm_moments_kernel<T, A, true> : batch_norm_moments_kernel<T, A, false>;
    launch({norm_blocks(shape, chunks), kNormThreads, stream}, kernel, x, shape, chunks, partials);
  }
  launch({blocks_for(shape.channels, kThreads), kThreads, stream}, batch_norm_finish_kernel<T, A>, shape, chunks,
         partials, parameters, training, eps, scales, mean, var);
  constexpr int kPack = 16 / sizeof(T);
  const bool packed =
      residual ? made_of_packs<T>(16, run_of(shape), x, residual, out) : made_of_packs<T>(16, run_of(shape), x, out);
  const auto kernel = packed ? batch_norm_kernel<T, A, kPack> : batch_norm_kernel<T, A, 1>;
  const std::int64_t threads = shape.count * shape.channels / (packed ? kPack : 1);
  launch({blocks_for(threads, kThreads), kThreads, stream}, kernel, shape, x, residual, mean, scales, activation, out);
}

template <class T, class A>
void launch_batch_norm_backward(const NormShape& shape, const T* grad, const T* x, const T* out,
                                const ChannelParameter& weight, const A* mean, const A* var, bool training, double eps,
                                Activation activation, A* partials, A* scales, T* grad_input, A* grad_weight,
                                A* grad_bias, T* grad_residual, cudaStream_t stream) {
  const NormChunks chunks = norm_chunks(shape);
  const auto reduce = shape.rows ? batch_norm_reduce_kernel<T, A, true> : batch_norm_reduce_kernel<T, A, false>;
  launch({norm_blocks(shape, chunks), kNormThreads, stream}, reduce, shape, chunks, grad, x, out, mean, activation,
         partials);
  launch({blocks_for(shape.channels, kThreads), kThreads, stream}, batch_norm_finish_backward_kernel<T, A>, shape,
         chunks, partials, weight, var, eps, scales, grad_weight, grad_bias);
  constexpr int kPack = 16 / sizeof(T);
  const bool packed = made_of_packs<T>(16, run_of(shape), grad, x, out ? out : x, grad_input,
                                       grad_residual ? grad_residual : grad_input);
  const auto kernel = packed ? batch_norm_backward_kernel<T, A, kPack> : batch_norm_backward_kernel<T, A, 1>;
  const std::int64_t threads = shape.count * shape.channels / (packed ? kPack : 1);
  launch({blocks_for(threads, kThreads), kThreads, stream}, kernel, shape, grad, x, out, mean, scales, training,
         activation, grad_input, grad_residual);
}

#define SACCADE_INSTANTIATE(T, A)                                                                                   \
  template void launch_batch_norm(const NormShape&, const T*, const T*, const NormParameters&, bool, double,        \
                                  Activation, A*, A*, A*, A*, T*, cudaStream_t);                                    \
  template void launch_batch_norm_backward(const NormShape&, const T*, const T*, const T*, const ChannelParameter&, \
                                           const A*, const A*, bool, double, Activation, A*, A*, T*, A*, A*, T*,    \
                                           cudaStream_t);
SACCADE_INSTANTIATE(Float16, float)
SACCADE_INSTANTIATE(BFloat16, float)
SACCADE_INSTANTIATE(float, float)
SACCADE_INSTANTIATE(double, double)
#undef SACCADE_INSTANTIATE

}  // namespace saccade::cuda
