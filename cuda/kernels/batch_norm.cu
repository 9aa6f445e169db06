// Batch normalisation in three kernels: sums by chunk and channel (batch_norm_chunk.cuh), sums by channel with what
// follows from them (a thread per channel, in double), and the elements (a thread per 16 bytes). As on the CPU, the
// moments of a chunk are taken about the mean of its first sixteenth (csrc/kernels/batch_norm.cpp says why that is
// enough), and x - mean comes before the product.
#include <cmath>

#include "cuda/common/epilogue.cuh"
#include "cuda/common/pack.cuh"
#include "cuda/kernels/batch_norm.h"
#include "cuda/kernels/batch_norm_channel.cuh"
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

// A thread per channel: mean and variance, and what batch_norm_kernel needs (write_scales).
template <class T, class A>
__global__ void __launch_bounds__(kThreads)
    batch_norm_finish_kernel(NormShape shape, NormChunks chunks, const A* partials, NormParameters parameters,
                             bool training, double eps, A* scales, A* mean, A* var) {
  const std::int64_t c = thread_index();
  if (c >= shape.channels) return;
  Moments moments;
  if (training) {
    moments = combined_moments(shape, chunks, partials, c);
    moments.squares /= static_cast<double>(shape.count);
  } else {
    moments.mean = parameter_at<T, A>(parameters.running_mean, c, 0);
    moments.squares = parameter_at<T, A>(parameters.running_var, c, 0);
  }
  var[c] = static_cast<A>(moments.squares);
  write_scales<T>(shape.channels, c, moments.mean, moments.squares, parameters.weight, parameters.bias, eps, mean,
                  scales);
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

// A thread per channel: the gradients of weight and bias, and what batch_norm_backward_kernel needs.
template <class T, class A>
__global__ void __launch_bounds__(kThreads)
    batch_norm_finish_backward_kernel(NormShape shape, NormChunks chunks, const A* partials, ChannelParameter weight,
                                      const A* var, double eps, A* scales, A* grad_weight, A* grad_bias) {
  const std::int64_t c = thread_index();
  if (c >= shape.channels) return;
  const GradientSums sums = combined_sums(shape, chunks, partials, c, var[c], eps);
  const double share = 1 / static_cast<double>(shape.count);
  grad_weight[c] = static_cast<A>(sums.product);
  grad_bias[c] = static_cast<A>(sums.sum);
  write_gradient_scales<T>(shape.channels, c, sums.sum * share, sums.product * share, weight, var[c], eps, scales);
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
void launch_norm_moments(const NormShape& shape, const T* x, A* partials, cudaStream_t stream) {
  const NormChunks chunks = norm_chunks(shape);
  const auto kernel = shape.rows ? batch_norm_moments_kernel<T, A, true> : batch_norm_moments_kernel<T, A, false>;
  launch({norm_blocks(shape, chunks), kNormThreads, stream}, kernel, x, shape, chunks, partials);
}

template <class T, class A>
void launch_norm_elements(const NormShape& shape, const T* x, const T* residual, const A* mean, const A* scales,
                          Activation activation, T* out, cudaStream_t stream) {
  constexpr int kPack = 16 / sizeof(T);
  const bool packed =
      residual ? made_of_packs<T>(16, run_of(shape), x, residual, out) : made_of_packs<T>(16, run_of(shape), x, out);
  const auto kernel = packed ? batch_norm_kernel<T, A, kPack> : batch_norm_kernel<T, A, 1>;
  const std::int64_t threads = shape.count * shape.channels / (packed ? kPack : 1);
  launch({blocks_for(threads, kThreads), kThreads, stream}, kernel, shape, x, residual, mean, scales, activation, out);
}

template <class T, class A>
void launch_norm_sums(const NormShape& shape, const T* grad, const T* x, const T* out, const A* mean,
                      Activation activation, A* partials, cudaStream_t stream) {
  const NormChunks chunks = norm_chunks(shape);
  const auto reduce = shape.rows ? batch_norm_reduce_kernel<T, A, true> : batch_norm_reduce_kernel<T, A, false>;
  launch({norm_blocks(shape, chunks), kNormThreads, stream}, reduce, shape, chunks, grad, x, out, mean, activation,
         partials);
}

template <class T, class A>
void launch_norm_gradient(const NormShape& shape, const T* grad, const T* x, const T* out, const A* mean,
                          const A* scales, bool training, Activation activation, T* grad_input, T* grad_residual,
                          cudaStream_t stream) {
  constexpr int kPack = 16 / sizeof(T);
  const bool packed = made_of_packs<T>(16, run_of(shape), grad, x, out ? out : x, grad_input,
                                       grad_residual ? grad_residual : grad_input);
  const auto kernel = packed ? batch_norm_backward_kernel<T, A, kPack> : batch_norm_backward_kernel<T, A, 1>;
  const std::int64_t threads = shape.count * shape.channels / (packed ? kPack : 1);
  launch({blocks_for(threads, kThreads), kThreads, stream}, kernel, shape, grad, x, out, mean, scales, training,
         activation, grad_input, grad_residual);
}

template <class T, class A>
void launch_batch_norm(const NormShape& shape, const T* x, const T* residual, const NormParameters& parameters,
                       bool training, double eps, Activation activation, A* partials, A* scales, A* mean, A* var,
                       T* out, cudaStream_t stream) {
  if (training) launch_norm_moments(shape, x, partials, stream);
  launch({blocks_for(shape.channels, kThreads), kThreads, stream}, batch_norm_finish_kernel<T, A>, shape,
         norm_chunks(shape), partials, parameters, training, eps, scales, mean, var);
  launch_norm_elements(shape, x, residual, mean, scales, activation, out, stream);
}

template <class T, class A>
void launch_batch_norm_backward(const NormShape& shape, const T* grad, const T* x, const T* out,
                                const ChannelParameter& weight, const A* mean, const A* var, bool training, double eps,
                                Activation activation, A* partials, A* scales, T* grad_input, A* grad_weight,
                                A* grad_bias, T* grad_residual, cudaStream_t stream) {
  launch_norm_sums(shape, grad, x, out, mean, activation, partials, stream);
  launch({blocks_for(shape.channels, kThreads), kThreads, stream}, batch_norm_finish_backward_kernel<T, A>, shape,
         norm_chunks(shape), partials, weight, var, eps, scales, grad_weight, grad_bias);
  launch_norm_gradient(shape, grad, x, out, mean, scales, training, activation, grad_input, grad_residual, stream);
}

#define SACCADE_INSTANTIATE(T, A)                                                                                   \
  template void launch_norm_moments(const NormShape&, const T*, A*, cudaStream_t);                                  \
  template void launch_norm_elements(const NormShape&, const T*, const T*, const A*, const A*, Activation, T*,      \
                                     cudaStream_t);                                                                 \
  template void launch_norm_sums(const NormShape&, const T*, const T*, const T*, const A*, Activation, A*,          \
                                 cudaStream_t);                                                                     \
  template void launch_norm_gradient(const NormShape&, const T*, const T*, const T*, const A*, const A*, bool,      \
                                     Activation, T*, T*, cudaStream_t);                                             \
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
