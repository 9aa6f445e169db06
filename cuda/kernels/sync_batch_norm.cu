// The kernels of batch_norm.cu, and between them a thread per channel, in double.
#include "cuda/common/launch.cuh"
#include "cuda/kernels/batch_norm_channel.cuh"
#include "cuda/kernels/sync_batch_norm.h"
#include "math/half.h"

namespace saccade::cuda {
namespace {

constexpr int kThreads = 256;

template <class A>
__global__ void __launch_bounds__(kThreads)
    sync_moments_kernel(NormShape shape, NormChunks chunks, const A* partials, double* out) {
  const std::int64_t c = thread_index();
  if (c >= shape.channels) return;
  const Moments moments = combined_moments(shape, chunks, partials, c);
  out[c] = moments.mean, out[shape.channels + c] = moments.squares;
}

// scales: scale and shift, then the rounded mean.
template <class T, class A>
__global__ void __launch_bounds__(kThreads)
    sync_scales_kernel(std::int64_t channels, const double* mean, const double* var, ChannelParameter weight,
                       ChannelParameter bias, double eps, A* scales) {
  const std::int64_t c = thread_index();
  if (c >= channels) return;
  write_scales<T>(channels, c, mean[c], var[c], weight, bias, eps, scales + 2 * channels, scales);
}

template <class A>
__global__ void __launch_bounds__(kThreads)
    sync_sums_kernel(NormShape shape, NormChunks chunks, const A* partials, const A* var, double eps, double* out) {
  const std::int64_t c = thread_index();
  if (c >= shape.channels) return;
  const GradientSums sums = combined_sums(shape, chunks, partials, c, var[c], eps);
  out[c] = sums.sum, out[shape.channels + c] = sums.product;
}

template <class T, class A>
__global__ void __launch_bounds__(kThreads)
    sync_gradient_scales_kernel(std::int64_t channels, const double* means, ChannelParameter weight, const A* var,
                                double eps, A* scales) {
  const std::int64_t c = thread_index();
  if (c >= channels) return;
  write_gradient_scales<T>(channels, c, means[c], means[channels + c], weight, var[c], eps, scales);
}

}  // namespace

template <class T, class A>
void launch_sync_batch_norm_statistics(const NormShape& shape, const T* x, A* partials, double* out,
                                       cudaStream_t stream) {
  launch_norm_moments(shape, x, partials, stream);
  launch({blocks_for(shape.channels, kThreads), kThreads, stream}, sync_moments_kernel<A>, shape, norm_chunks(shape),
         partials, out);
}

template <class T, class A>
void launch_sync_batch_norm_apply(const NormShape& shape, const T* x, const T* residual, const double* mean,
                                  const double* var, const ChannelParameter& weight, const ChannelParameter& bias,
                                  double eps, Activation activation, A* scales, T* out, cudaStream_t stream) {
  launch({blocks_for(shape.channels, kThreads), kThreads, stream}, sync_scales_kernel<T, A>, shape.channels, mean, var,
         weight, bias, eps, scales);
  launch_norm_elements(shape, x, residual, scales + 2 * shape.channels, scales, activation, out, stream);
}

template <class T, class A>
void launch_sync_batch_norm_backward_sums(const NormShape& shape, const T* grad, const T* x, const T* out,
                                          const A* mean, const A* var, double eps, Activation activation, A* partials,
                                          double* sums, cudaStream_t stream) {
  launch_norm_sums(shape, grad, x, out, mean, activation, partials, stream);
  launch({blocks_for(shape.channels, kThreads), kThreads, stream}, sync_sums_kernel<A>, shape, norm_chunks(shape),
         partials, var, eps, sums);
}

template <class T, class A>
void launch_sync_batch_norm_backward_apply(const NormShape& shape, const T* grad, const T* x, const T* out,
                                           const ChannelParameter& weight, const A* mean, const A* var,
                                           const double* means, double eps, Activation activation, A* scales,
                                           T* grad_input, T* grad_residual, cudaStream_t stream) {
  launch({blocks_for(shape.channels, kThreads), kThreads, stream}, sync_gradient_scales_kernel<T, A>, shape.channels,
         means, weight, var, eps, scales);
  launch_norm_gradient(shape, grad, x, out, mean, scales, true, activation, grad_input, grad_residual, stream);
}

#define SACCADE_INSTANTIATE(T, A)                                                                                      \
  template void launch_sync_batch_norm_statistics(const NormShape&, const T*, A*, double*, cudaStream_t);              \
  template void launch_sync_batch_norm_apply(const NormShape&, const T*, const T*, const double*, const double*,       \
                                             const ChannelParameter&, const ChannelParameter&, double, Activation, A*, \
                                             T*, cudaStream_t);                                                        \
  template void launch_sync_batch_norm_backward_sums(const NormShape&, const T*, const T*, const T*, const A*,         \
                                                     const A*, double, Activation, A*, double*, cudaStream_t);         \
  template void launch_sync_batch_norm_backward_apply(const NormShape&, const T*, const T*, const T*,                  \
                                                      const ChannelParameter&, const A*, const A*, const double*,      \
                                                      double, Activation, A*, T*, T*, cudaStream_t);
SACCADE_INSTANTIATE(Float16, float)
SACCADE_INSTANTIATE(BFloat16, float)
SACCADE_INSTANTIATE(float, float)
SACCADE_INSTANTIATE(double, double)
#undef SACCADE_INSTANTIATE

}  // namespace saccade::cuda
