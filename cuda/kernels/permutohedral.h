// CUDA kernels of the permutohedral lattice (csrc/ops/permutohedral.h). All rows have `channels` elements.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace saccade::cuda {

// out[s] = sum over entries e from starts[s] to starts[s + 1] of weights[e] * factors[indices[e]] * values[indices[e]],
// for `count` rows; weights and factors may be missing.
template <class T>
void launch_lattice_sum(std::int64_t count, std::int64_t channels, const std::int32_t* starts,
                        const std::int32_t* indices, const T* weights, const T* factors, const T* values, T* out,
                        cudaStream_t stream);

// to[v] = from[v] + (from[neighbours[v][0]] + from[neighbours[v][1]]) / 2; a neighbour `count` is not there.
template <class T>
void launch_lattice_blur(std::int64_t count, std::int64_t channels, const std::int32_t* neighbours, const T* from,
                         T* to, cudaStream_t stream);

// out[p] = scale * factors[p] * sum over c of weights[p][c] * table[vertices[p][c]]; factors may be missing.
template <class T>
void launch_lattice_slice(std::int64_t count, std::int64_t channels, int corners, const std::int32_t* vertices,
                          const T* weights, const T* table, T scale, const T* factors, T* out, cudaStream_t stream);

}  // namespace saccade::cuda
