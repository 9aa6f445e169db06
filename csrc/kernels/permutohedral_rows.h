// Rows of a lattice's values, in chunks of 32 bytes. For kernels only.
#pragma once

#include "isa/simd.h"
#include "kernels/permutohedral.h"

namespace saccade::SACCADE_ISA {

// Half a register of AVX-512: rows of 21 labels are three chunks, 96 bytes in two cache lines; whole registers would
// take 128 bytes a row.
template <class T>
using Chunk = Vec<T, kLatticeChunkBytes / static_cast<int>(sizeof(T))>;
template <class T>
constexpr int kChunk = kLanesOf<Chunk<T>>;
constexpr int kMaxChunks = 4;  // that are summed at a time, in registers

// Calls body(first element, std::integral_constant<int, chunks>) for the columns of a row.
template <class T, class Body>
SACCADE_HD void for_columns(std::int64_t stride, const Body& body) {
  std::int64_t column = 0;
  for (; column + kMaxChunks * kChunk<T> <= stride; column += kMaxChunks * kChunk<T>)
    body(column, std::integral_constant<int, kMaxChunks>{});
  switch ((stride - column) / kChunk<T>) {
    case 3: return body(column, std::integral_constant<int, 3>{});
    case 2: return body(column, std::integral_constant<int, 2>{});
    case 1: return body(column, std::integral_constant<int, 1>{});
    default: return;
  }
}

// Adds weights[c] * table[vertices[c]] of `corners` corners, or of Corners where that is not 0.
template <int Corners, int Chunks, class T>
SACCADE_HD void add_corners(int corners, const std::int32_t* vertices, const T* weights, const T* table,
                            std::int64_t stride, Chunk<T> (&sum)[Chunks]) {
  for (int c = 0; c < (Corners > 0 ? Corners : corners); ++c) {
    const T* row = table + vertices[c] * stride;
    const auto weight = splat<Chunk<T>>(weights[c]);
    for (int k = 0; k < Chunks; ++k) sum[k] = fma<Chunk<T>>(weight, load<Chunk<T>>(row + k * kChunk<T>), sum[k]);
  }
}

// Chunks of scale * sum over the corners of weights[c] * table[vertices[c]]. Places, and places with colours, have
// their loops unrolled.
template <int Chunks, class T>
SACCADE_HD void slice_point(int corners, const std::int32_t* vertices, const T* weights, const T* table,
                            std::int64_t stride, T scale, Chunk<T> (&sum)[Chunks]) {
  for (int k = 0; k < Chunks; ++k) sum[k] = Chunk<T>{};
  if (corners == 3)
    add_corners<3>(corners, vertices, weights, table, stride, sum);
  else if (corners == 6)
    add_corners<6>(corners, vertices, weights, table, stride, sum);
  else
    add_corners<0>(corners, vertices, weights, table, stride, sum);
  for (int k = 0; k < Chunks; ++k) sum[k] *= scale;
}

}  // namespace saccade::SACCADE_ISA
