// The mean field of a fully connected CRF (Kraehenbuehl and Koltun, Efficient inference in fully connected CRFs with
// Gaussian edge potentials, 2011):
//   q = softmax(logits); then, so many times: q = softmax(logits + sum over terms k of C_k filter_k(q))
// with softmax over the labels, and filter_k the lattice's (ops/permutohedral.h), whose weights may hold a
// normalisation. C_k is a matrix (labels, labels), or a vector for a diagonal one.
//
// logits (b, labels, points), float32 or float64, contiguous; point p of image i is the lattice's i * points + p. out
// the same: q, or the last logits. Between the steps q stands in rows of whole chunks, labels innermost. A thread owns
// what it writes: the same bits for any number of threads.
//
// What a step has to move for 512 x 512 points, 21 labels, lattices of 2 and 5 features: rows of q (25 MB) are written
// once and read 3 + 6 times, vertices' tables of 3 to 5 MB are read 3 + 6 times for each point, the rows of the logits
// (25 MB) once, the lattices' entries (19 MB) twice. Predicted 21 ms a step on one thread (splat 7.5, blur 2, slice 6,
// softmax 5), 50 ms to build both lattices: 155 ms for 5 steps.
#pragma once

#include <cstdint>
#include <vector>

#include "common/tensor_view.h"
#include "ops/permutohedral.h"

namespace saccade {

void check_mean_field(const TensorView& logits, const std::vector<LatticeViews>& lattices,
                      const std::vector<TensorView>& compatibility, std::int64_t iterations);

// `normalize`: whether out is q, rather than its logits.
void mean_field(const TensorView& logits, const std::vector<LatticeViews>& lattices,
                const std::vector<TensorView>& compatibility, std::int64_t iterations, bool normalize,
                const TensorView& out);

}  // namespace saccade
