// Kernels of the permutohedral lattice (csrc/ops/permutohedral.h).
#pragma once

#include <cstdint>

#include "isa/isa.h"

namespace saccade {

constexpr int kMaxLatticeDims = 8;
constexpr int kLatticeChunkBytes = 32;  // rows of values are whole chunks

// Bits of a key for each of d coordinates: q + 2^(bits - 1) of the coordinate (d + 1) * q + remainder; the remainder
// has the lowest four bits.
constexpr int lattice_key_bits(int d) { return 60 / d < 21 ? 60 / d : 21; }

// n points of d features each: the barycentric weights (n, d + 1) and the keys (n, d + 1) of the vertices around them,
// in the order of the vertices' remainders. False where a feature is not finite or too large for a key.
template <class T>
using LatticeEmbed = bool (*)(const T* features, std::int64_t n, T* weights, std::uint64_t* keys);

template <class T>
struct PermutohedralKernels {
  LatticeEmbed<T> embed[kMaxLatticeDims];  // by d - 1

  // Rows [begin, end) of the output: out[s] = sum over entries e from starts[s] to starts[s + 1] of weights[e] *
  // values[points[e] - first]. Rows of `stride` elements: whole chunks, or one.
  void (*splat)(std::int64_t begin, std::int64_t end, const std::int32_t* starts, const std::int32_t* points,
                const T* weights, const T* values, std::int64_t first, std::int64_t stride, T* out);
  // The same with weights of one, of all rows of the values.
  void (*join)(std::int64_t begin, std::int64_t end, const std::int32_t* starts, const std::int32_t* parts,
               const T* values, std::int64_t stride, T* out);
  // Vertices [begin, end): to[v] = from[v] + (from[neighbours[v][0]] + from[neighbours[v][1]]) / 2.
  void (*blur)(std::int64_t begin, std::int64_t end, const std::int32_t* neighbours, const T* from, std::int64_t stride,
               T* to);
  // Points [begin, end): out[p] = scale * sum over c of weights[p][c] * table[vertices[p][c]]; rows of the output have
  // `channels` elements without padding.
  void (*slice)(std::int64_t begin, std::int64_t end, int corners, const std::int32_t* vertices, const T* weights,
                const T* table, std::int64_t stride, T scale, T* out, std::int64_t channels);
};

struct PermutohedralTables {
  PermutohedralKernels<float> f32;
  PermutohedralKernels<double> f64;
};
SACCADE_KERNELS(PermutohedralTables, permutohedral_tables)

template <class T>
const PermutohedralKernels<T>& permutohedral_kernels() {
  if constexpr (sizeof(T) == 4)
    return permutohedral_tables().f32;
  else
    return permutohedral_tables().f64;
}

}  // namespace saccade
