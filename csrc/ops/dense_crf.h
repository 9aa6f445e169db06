// The mean field of a fully connected CRF (Kraehenbuehl and Koltun, Efficient inference in fully connected CRFs with
// Gaussian edge potentials, 2011), with logits = sign * unary:
//   q = softmax(logits); then, so many times:
//   q = softmax(logits + sum over terms k of C_k after_k filter_k(before_k q))
// with softmax over the labels, filter_k a lattice's (ops/permutohedral.h), before_k and after_k a number for each
// point, and C_k a matrix (labels, labels), or a vector for a diagonal one.
//
// unary (b, labels, points), float32 or float64, contiguous; point p of image i is the lattice's i * points + p. out
// the same: q, or the last logits. A thread owns what it writes: the same bits for any number of threads.
//
// Band by band (kBandPoints) the lattices are sliced, q is computed in rows of whole chunks, labels innermost, and
// splat again while the band is in L2: q is never written to memory. A step has to move, for 512 x 512 points, 21
// labels, lattices of 2 and 5 features: the costs (22 MB), the lattices' entries (19 MB) twice; and from L2 three and
// six rows of vertices for each point, and its own row as often. Predicted: 16 ms a step on one thread (splat 5, slice
// 5, softmax 4, blur 2) and 50 ms to build both lattices, 130 ms for 5 steps. Measured on a Zen 5 core, in processor
// time beside other programs: 15 ms a step, 7 for its first and last part, 33 for the lattices, 124 in all. With one
// splat over all points, from L3, a step took about twice as long.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/tensor_view.h"
#include "ops/permutohedral.h"

namespace saccade {

struct MeanFieldLattice {
  LatticeViews lattice;
  std::optional<TensorView> before, after;  // (b * points,), contiguous; none for ones
};

void check_mean_field(const TensorView& unary, const std::vector<MeanFieldLattice>& lattices,
                      const std::vector<TensorView>& compatibility, std::int64_t iterations);

// `normalize`: whether out is q, rather than its logits.
void mean_field(const TensorView& unary, double sign, const std::vector<MeanFieldLattice>& lattices,
                const std::vector<TensorView>& compatibility, std::int64_t iterations, bool normalize,
                const TensorView& out);

}  // namespace saccade
