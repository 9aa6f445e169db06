// CUDA kernels of the mean field (csrc/ops/dense_crf.h). Rows have `labels` elements, one for each of `count` points.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace saccade::cuda {

// rows[image * points + p][l] = sign * planes[image][l][p].
template <class T>
void launch_mean_field_start(const T* planes, T sign, std::int64_t count, std::int64_t labels, std::int64_t points,
                             T* rows, cudaStream_t stream);

// logits[p] += compatibility * messages[p]; the compatibility is a vector, or a dense matrix.
template <class T>
void launch_mean_field_message(const T* messages, const T* compatibility, bool matrix, std::int64_t count,
                               std::int64_t labels, T* logits, cudaStream_t stream);

template <class T>
void launch_mean_field_softmax(const T* logits, std::int64_t count, std::int64_t labels, T* q, cudaStream_t stream);

// planes[image][l][p] = rows[image * points + p][l].
template <class T>
void launch_mean_field_finish(const T* rows, std::int64_t count, std::int64_t labels, std::int64_t points, T* planes,
                              cudaStream_t stream);

}  // namespace saccade::cuda
