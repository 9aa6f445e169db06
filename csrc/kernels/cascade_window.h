// One window of a cascade exactly, in the order of the file: for the CPU where a vectorised sum is in doubt, and for
// CUDA.
#pragma once

#include <cstdint>

#include "common/macros.h"
#include "kernels/cascade.h"

namespace saccade {

SACCADE_HD float rect_sum_one(const std::uint32_t* at, const std::int32_t* o) {
  return static_cast<float>(static_cast<std::int32_t>(at[o[0]] - at[o[1]] - at[o[2]] + at[o[3]]));
}

SACCADE_HD bool left_one(const CascadePlan& plan, std::int32_t index, const std::uint32_t* at, float scale) {
  if (!plan.haar) {
    const CascadeLbpNode& node = plan.lbp_nodes[index];
    std::int32_t cell[9];
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 3; ++k) {
        const std::int32_t* o = node.offset + 4 * j + k;
        cell[3 * j + k] = static_cast<std::int32_t>(at[o[0]] - at[o[1]] - at[o[4]] + at[o[5]]);
      }
    const int code = (cell[0] >= cell[4]) << 7 | (cell[1] >= cell[4]) << 6 | (cell[2] >= cell[4]) << 5 |
                     (cell[5] >= cell[4]) << 4 | (cell[8] >= cell[4]) << 3 | (cell[7] >= cell[4]) << 2 |
                     (cell[6] >= cell[4]) << 1 | (cell[3] >= cell[4]);
    return (node.subset[code >> 5] >> (code & 31) & 1) != 0;
  }
  const CascadeHaarNode& node = plan.haar_nodes[index];
  const std::int32_t* o = node.offset;
  float value;
  switch (plan.forms[index]) {
    case CascadeForm::kEdge:
      value = static_cast<float>(
          static_cast<std::int32_t>(at[o[0]] - at[o[1]] + at[o[2]] - at[o[3]] + 2 * (at[o[4]] - at[o[5]])));
      break;
    case CascadeForm::kQuad:
      value = static_cast<float>(static_cast<std::int32_t>(
          at[o[0]] + at[o[1]] + at[o[2]] + at[o[3]] - 2 * (at[o[4]] + at[o[5]] + at[o[6]] + at[o[7]]) + 4 * at[o[8]]));
      break;
    default:
      value = node.weight[0] * rect_sum_one(at, o) + node.weight[1] * rect_sum_one(at, o + 4);
      if (plan.forms[index] == CascadeForm::kRects3) value = value + node.weight[2] * rect_sum_one(at, o + 8);
  }
  return value * scale < node.threshold;
}

SACCADE_HD double stage_sum_one(const CascadePlan& plan, const CascadeStage& stage, const std::uint32_t* at,
                                float scale) {
  double sum = 0;
  for (std::int32_t t = 0; t < stage.tree_count; ++t) {
    const CascadeTree& tree = plan.trees[stage.first_tree + t];
    if (tree.node_count == 1) {
      sum += plan.leaves[tree.leaf + !left_one(plan, tree.node, at, scale)];
    } else if (tree.node_count == 2) {
      const int first = left_one(plan, tree.node, at, scale) ? 0 : 2;
      sum += plan.leaves[tree.leaf + first + !left_one(plan, tree.node + 1, at, scale)];
    } else {
      std::int32_t n = 0;
      do {
        n = plan.children[2 * (tree.node + n) + !left_one(plan, tree.node + n, at, scale)];
      } while (n > 0);
      sum += plan.leaves[tree.leaf - n];
    }
  }
  return sum;
}

}  // namespace saccade
