// The mean field between the lattices' filters. A thread owns one element of the output, in softmax one row.
#include "cuda/common/launch.cuh"
#include "cuda/kernels/dense_crf.h"
#include "math/exp.h"

namespace saccade::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads) mean_field_start_kernel(const T* planes, T sign, std::int64_t count,
                                                                    std::int64_t labels, std::int64_t points, T* rows) {
  const std::int64_t i = thread_index();
  if (i >= count * labels) return;
  const std::int64_t row = i / labels, label = i % labels;
  rows[i] = sign * planes[(row / points * labels + label) * points + row % points];
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    mean_field_message_kernel(const T* messages, const T* compatibility, bool matrix, std::int64_t count,
                              std::int64_t labels, T* logits) {
  const std::int64_t i = thread_index();
  if (i >= count * labels) return;
  const std::int64_t label = i % labels;
  if (!matrix) {
    logits[i] += compatibility[label] * messages[i];
    return;
  }
  T sum = logits[i];
  for (std::int64_t j = 0; j < labels; ++j) sum += compatibility[label * labels + j] * messages[i - label + j];
  logits[i] = sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    mean_field_softmax_kernel(const T* logits, std::int64_t count, std::int64_t labels, T* q) {
  const std::int64_t row = thread_index();
  if (row >= count) return;
  logits += row * labels;
  q += row * labels;
  T largest = logits[0], sum = 0;
  for (std::int64_t l = 1; l < labels; ++l) largest = logits[l] > largest ? logits[l] : largest;
  for (std::int64_t l = 0; l < labels; ++l) sum += q[l] = exp_nonpositive<ScalarArithmetic>(logits[l] - largest);
  const T inverse = 1 / sum;
  for (std::int64_t l = 0; l < labels; ++l) q[l] *= inverse;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    mean_field_finish_kernel(const T* rows, std::int64_t count, std::int64_t labels, std::int64_t points, T* planes) {
  const std::int64_t i = thread_index();
  if (i >= count * labels) return;
  const std::int64_t plane = i / points, point = i % points, image = plane / labels, label = plane % labels;
  planes[i] = rows[(image * points + point) * labels + label];
}

}  // namespace

template <class T>
void launch_mean_field_start(const T* planes, T sign, std::int64_t count, std::int64_t labels, std::int64_t points,
                             T* rows, cudaStream_t stream) {
  launch({blocks_for(count * labels, kThreads), kThreads, stream}, mean_field_start_kernel<T>, planes, sign, count,
         labels, points, rows);
}

template <class T>
void launch_mean_field_message(const T* messages, const T* compatibility, bool matrix, std::int64_t count,
                               std::int64_t labels, T* logits, cudaStream_t stream) {
  launch({blocks_for(count * labels, kThreads), kThreads, stream}, mean_field_message_kernel<T>, messages,
         compatibility, matrix, count, labels, logits);
}

template <class T>
void launch_mean_field_softmax(const T* logits, std::int64_t count, std::int64_t labels, T* q, cudaStream_t stream) {
  launch({blocks_for(count, kThreads), kThreads, stream}, mean_field_softmax_kernel<T>, logits, count, labels, q);
}

template <class T>
void launch_mean_field_finish(const T* rows, std::int64_t count, std::int64_t labels, std::int64_t points, T* planes,
                              cudaStream_t stream) {
  launch({blocks_for(count * labels, kThreads), kThreads, stream}, mean_field_finish_kernel<T>, rows, count, labels,
         points, planes);
}

#define SACCADE_INSTANTIATE(T)                                                                                        \
  template void launch_mean_field_start<T>(const T*, T, std::int64_t, std::int64_t, std::int64_t, T*, cudaStream_t);  \
  template void launch_mean_field_message<T>(const T*, const T*, bool, std::int64_t, std::int64_t, T*, cudaStream_t); \
  template void launch_mean_field_softmax<T>(const T*, std::int64_t, std::int64_t, T*, cudaStream_t);                 \
  template void launch_mean_field_finish<T>(const T*, std::int64_t, std::int64_t, std::int64_t, T*, cudaStream_t);
SACCADE_INSTANTIATE(float)
SACCADE_INSTANTIATE(double)

}  // namespace saccade::cuda
