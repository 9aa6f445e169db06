// Binary labels of least energy on a grid (Greig, Porteous and Seheult 1989; Boykov and Jolly 2001):
//
//   E(x) = sum over pixels p of unary[x_p][p] + sum over neighbours p, q of weight[p, q] * (x_p != x_q)
//
// as a minimum cut: the maximum flow is found, so the labels are optimal, exactly so for integers. Of several minimal
// labellings the one with the fewest ones comes out; with floats that is up to rounding of the capacities.
#pragma once

#include <cstdint>

#include "common/tensor_view.h"

namespace saccade {

// unary: (2, h, w) or (2, d, h, w), C-contiguous, int32, float32 or float64: the cost of label 0 and of label 1. +inf
// forbids a label; NaN, -inf and a pixel without any label are refused. Integers: costs differ by less than 2^30.
// pairwise: C-contiguous, of the same dtype: (), (k,) or (k, *grid) weights of the connectivity / 2 forward neighbours
// (csrc/kernels/grid_cut.h), finite and not negative (integers: less than 2^30). What leads out of the grid is not
// read.
void check_graph_cut(const TensorView& unary, const TensorView& pairwise, std::int64_t connectivity);

// The energy; exact for integers as long as it is less than 2^63.
struct GraphCutEnergy {
  double real = 0;
  std::int64_t integer = 0;
};

// labels: uint8, the shape of a plane of `unary`, C-contiguous.
void graph_cut(const TensorView& unary, const TensorView& pairwise, std::int64_t connectivity,
               const TensorView& labels);
GraphCutEnergy graph_cut_energy(const TensorView& unary, const TensorView& pairwise, std::int64_t connectivity,
                                const TensorView& labels);

}  // namespace saccade
