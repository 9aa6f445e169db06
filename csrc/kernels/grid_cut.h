// Kernels of graph_cut (csrc/ops/graph_cut.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "isa/isa.h"

namespace saccade {

constexpr int kMaxForward = 13;

// One minimum cut. Costs, weights and residual capacities are of one type C: float, double or int32.
template <class C>
struct GridCut {
  std::int64_t depth, height, width;  // depth 1 for images
  int neighbours;                     // 4 or 8 in an image, 6 or 26 in a volume
  const C* cost0;                     // of label 0, the sink's side; C-contiguous
  const C* cost1;                     // of label 1, the source's side; null for none
  // neighbours / 2 planes like the costs, or one weight for each plane where scalar.
  const C* weights;
  bool scalar;
  std::uint8_t* labels;
  void* workspace;  // `bytes`, aligned to 64: zeros, or what the cut before left where `resume`
  // Only the costs have changed since: cost0 holds the new ones and cost1 those of the cut before, whose flow is kept
  // (Kohli and Torr 2005): what is left of it is the same energy in other terms.
  bool resume;
};

// Step (z, y, x) from a pixel to its k-th forward neighbour; the others are the same steps backwards.
struct GridStep {
  int z, y, x;
};

struct GridCutKernels {
  std::size_t (*bytes_i32)(const GridCut<std::int32_t>&);
  std::size_t (*bytes_f32)(const GridCut<float>&);
  std::size_t (*bytes_f64)(const GridCut<double>&);
  void (*i32)(const GridCut<std::int32_t>&);
  void (*f32)(const GridCut<float>&);
  void (*f64)(const GridCut<double>&);
};
SACCADE_KERNELS(GridCutKernels, grid_cut_kernels)

// Forward steps: connectivity 4: down, right. 8: down, right, down-right, down-left. 6: z + 1, down, right. 26: the
// last 13 of the 27 offsets in row-major order of (z, y, x).
inline GridStep grid_step(int neighbours, int k) {
  constexpr GridStep kPlane[] = {{0, 1, 0}, {0, 0, 1}, {0, 1, 1}, {0, 1, -1}};
  constexpr GridStep kSix[] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
  if (neighbours <= 4 || neighbours == 8) return kPlane[k];
  if (neighbours == 6) return kSix[k];
  const int i = 14 + k;
  return {i / 9 - 1, i / 3 % 3 - 1, i % 3 - 1};
}

}  // namespace saccade
