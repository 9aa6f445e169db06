// Gaussian filtering of points with d features (Adams, Baek and Davis, 2010):
//   out[p] = about sum over q of exp(-|features[p] - features[q]|^2 / 2) * values[q], p itself included.
//
// Every point lies in a simplex of the lattice's d + 1 vertices, with barycentric weights. Splat adds the points'
// values to the vertices, blur filters along each of the d + 1 axes with (1/2, 1, 1/2), slice reads the vertices at the
// points; the result is divided by 1 + 2^-d. The filter is linear in the values; its transpose blurs along the axes in
// the reverse order.
//
// features (b, n, d), 1 <= d <= 8, float32 or float64, contiguous, finite: b sets of points, each with a lattice of its
// own; their vertices are numbered through, those that splat reaches and no others. Vertices are numbered in the order
// in which the points meet them, entries of a vertex stand in the order of the points, and a thread owns what it
// writes: the same bits for any number of threads.
#pragma once

#include <cstdint>
#include <memory>

#include "common/tensor_view.h"
#include "kernels/permutohedral.h"

namespace saccade {

// What every lattice is, for b * n = N points and M vertices.
struct LatticeViews {
  TensorView vertices;  // (N, d + 1) int32
  TensorView weights;   // (N, d + 1), of the features' dtype: barycentric, for slice
  // Splat in two steps. Points are taken in bands of kBandPoints, whose rows of values fit in L2; a segment is what one
  // vertex receives from one band.
  TensorView points;         // (N * (d + 1),) int32: those of each segment; segments in the order of the bands
  TensorView point_weights;  // the same number, of the features' dtype: with what weight
  TensorView segments;       // (S + 1,) int32: the first entry of each segment
  TensorView parts;          // (S,) int32: the segments of each vertex
  TensorView starts;         // (M + 1,) int32: the first part of each vertex
  TensorView neighbours;     // (d + 1, M, 2) int32: along each axis; M where there is none
  std::int64_t count() const { return vertices.sizes[0]; }
  int corners() const { return static_cast<int>(vertices.sizes[1]); }
  std::int64_t vertex_count() const { return starts.sizes[0] - 1; }
  std::int64_t segment_count() const { return parts.sizes[0]; }
};

constexpr std::int64_t kBandPoints = 8192;  // 786 KB of 24 channels

void check_permutohedral_lattice(const TensorView& features);

// In two steps, for only the first one finds out how many vertices there are.
class LatticeBuilder {
 public:
  // Fills `vertices` and `weights`.
  LatticeBuilder(const TensorView& features, const TensorView& vertices, const TensorView& weights);
  ~LatticeBuilder();
  std::int64_t vertex_count() const;
  std::int64_t segment_count() const;
  // Fills the others, and changes `vertices` to their final numbers.
  void finish(const LatticeViews& lattice);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// values (N, channels) of the lattice's dtype; out the same, contiguous.
void check_permutohedral_filter(const TensorView& values, const LatticeViews& lattice);
void check_lattice(const char* op, const LatticeViews& lattice);
void permutohedral_filter(const TensorView& values, const LatticeViews& lattice, bool reverse, const TensorView& out);

// Elements of a row of `channels` values: one, or whole chunks.
template <class T>
constexpr std::int64_t lattice_stride(std::int64_t channels) {
  constexpr std::int64_t chunk = kLatticeChunkBytes / sizeof(T);
  return channels == 1 ? 1 : (channels + chunk - 1) / chunk * chunk;
}
constexpr double lattice_scale(int corners) { return 1 / (1 + 1.0 / (1 << (corners - 1))); }

// From what the segments received, rows of `stride` elements, to the blurred vertices. `table` and `spare` have M + 1
// rows; returns the one that holds the result.
template <class T>
T* join_and_blur(const LatticeViews& lattice, const T* received, std::int64_t stride, bool reverse, T* table, T* spare);

}  // namespace saccade
