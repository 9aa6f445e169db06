// Splat, blur and slice. A thread owns one channel of one row of the output and adds up what belongs there, in the
// order in which the lattice lists it: nothing is added atomically. The threads of a warp read neighbouring channels of
// the same rows.
#include "cuda/common/launch.cuh"
#include "cuda/kernels/permutohedral.h"

namespace saccade::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads)
    lattice_sum_kernel(std::int64_t count, std::int64_t channels, const std::int32_t* starts,
                       const std::int32_t* indices, const T* weights, const T* factors, const T* values, T* out) {
  const std::int64_t i = thread_index();
  if (i >= count * channels) return;
  const std::int64_t row = i / channels, channel = i % channels;
  T sum = 0;
  for (std::int32_t e = starts[row]; e < starts[row + 1]; ++e) {
    const std::int64_t index = indices[e];
    T weight = weights != nullptr ? weights[e] : T(1);
    if (factors != nullptr) weight *= factors[index];
    sum += weight * values[index * channels + channel];
  }
  out[i] = sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads) lattice_blur_kernel(std::int64_t count, std::int64_t channels,
                                                                const std::int32_t* neighbours, const T* from, T* to) {
  const std::int64_t i = thread_index();
  if (i >= count * channels) return;
  const std::int64_t row = i / channels, channel = i % channels;
  T sides = 0;
  for (int side = 0; side < 2; ++side) {
    const std::int64_t neighbour = neighbours[2 * row + side];
    if (neighbour < count) sides += from[neighbour * channels + channel];
  }
  to[i] = from[i] + T(0.5) * sides;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    lattice_slice_kernel(std::int64_t count, std::int64_t channels, int corners, const std::int32_t* vertices,
                         const T* weights, const T* table, T scale, const T* factors, T* out) {
  const std::int64_t i = thread_index();
  if (i >= count * channels) return;
  const std::int64_t row = i / channels, channel = i % channels;
  T sum = 0;
  for (std::int64_t e = row * corners; e < (row + 1) * corners; ++e)
    sum += weights[e] * table[vertices[e] * channels + channel];
  out[i] = sum * (factors != nullptr ? scale * factors[row] : scale);
}

}  // namespace

template <class T>
void launch_lattice_sum(std::int64_t count, std::int64_t channels, const std::int32_t* starts,
                        const std::int32_t* indices, const T* weights, const T* factors, const T* values, T* out,
                        cudaStream_t stream) {
  launch({blocks_for(count * channels, kThreads), kThreads, stream}, lattice_sum_kernel<T>, count, channels, starts,
         indices, weights, factors, values, out);
}

template <class T>
void launch_lattice_blur(std::int64_t count, std::int64_t channels, const std::int32_t* neighbours, const T* from,
                         T* to, cudaStream_t stream) {
  launch({blocks_for(count * channels, kThreads), kThreads, stream}, lattice_blur_kernel<T>, count, channels,
         neighbours, from, to);
}

template <class T>
void launch_lattice_slice(std::int64_t count, std::int64_t channels, int corners, const std::int32_t* vertices,
                          const T* weights, const T* table, T scale, const T* factors, T* out, cudaStream_t stream) {
  launch({blocks_for(count * channels, kThreads), kThreads, stream}, lattice_slice_kernel<T>, count, channels, corners,
         vertices, weights, table, scale, factors, out);
}

#define SACCADE_INSTANTIATE(T)                                                                                        \
  template void launch_lattice_sum<T>(std::int64_t, std::int64_t, const std::int32_t*, const std::int32_t*, const T*, \
                                      const T*, const T*, T*, cudaStream_t);                                          \
  template void launch_lattice_blur<T>(std::int64_t, std::int64_t, const std::int32_t*, const T*, T*, cudaStream_t);  \
  template void launch_lattice_slice<T>(std::int64_t, std::int64_t, int, const std::int32_t*, const T*, const T*, T,  \
                                        const T*, T*, cudaStream_t);
SACCADE_INSTANTIATE(float)
SACCADE_INSTANTIATE(double)

}  // namespace saccade::cuda
