// Kernels of cascade detection (csrc/ops/cascade.h): the windows of one row through all stages.
#pragma once

#include <cstddef>
#include <cstdint>

#include "isa/isa.h"

namespace saccade {

// How a Haar value is computed from the integral image. Offsets are relative to the window's first corner.
enum class CascadeForm : std::int32_t {
  kRects2,  // w0 * S0 + w1 * S1, four corners each: a - b - c + d
  kRects3,  // + w2 * S2
  kEdge,    // integers: (o0 - o1) + (o2 - o3) + 2 (o4 - o5): two halves that share an edge, weights -1 and 2
  kQuad,    // integers: o0 + o1 + o2 + o3 - 2 (o4 + o5 + o6 + o7) + 4 o8: a checkerboard, weights -1, 2, 2
};

struct CascadeHaarNode {
  std::int32_t offset[12];
  float weight[3];
  float threshold;
};
struct CascadeLbpNode {
  std::int32_t offset[16];  // the 4 x 4 corners of 3 x 3 cells, row by row
  std::uint32_t subset[8];
};

// Trees of a stage that are evaluated alike. A stump has leaves {left, right}; two nodes have {left's left, left's
// right, right's left, right's right}, each a choice of the second node (or twice the same leaf); other trees have one
// more leaf than nodes, reached by child (> 0: node, else -leaf), where every child stands behind its parent.
struct CascadeRun {
  std::int32_t nodes_per_tree, tree_count;
  std::int32_t node, leaf;  // of the first tree; the others follow
};

// Trees of more nodes are not vectorised: their stage is left to the exact evaluation.
constexpr std::int32_t kMaxCascadeTree = 32;

struct CascadeTree {
  std::int32_t node, leaf, node_count;
};

struct CascadeStage {
  double threshold;
  // The sum in float, in any order, is within a known distance of the exact one: below `reject` the stage surely fails,
  // from `accept` on it surely passes, in between the exact sum decides.
  float reject, accept;
  std::int32_t first_run, run_count;
  std::int32_t first_tree, tree_count;  // in the order of the file
};

struct CascadePlan {
  const CascadeStage* stages;
  const CascadeRun* runs;
  const CascadeTree* trees;
  const CascadeForm* forms;  // of each node (Haar)
  const float* leaves;
  const std::int32_t* children;  // (nodes, 2)
  std::int32_t stage_count;
  bool haar;

  // What depends on the layout of the integral image.
  const CascadeHaarNode* haar_nodes;
  const CascadeLbpNode* lbp_nodes;
  std::int32_t norm_offset[4];
  std::int64_t square_offset;  // from the sum to the sum of squares

  double area;            // of the window less its border, over which the variance is taken
  double least_variance;  // area * squares - sum^2 must be above it: OpenCV's rule of a standard deviation above 10
};

struct CascadeHit {
  std::int32_t x, y;  // index of the window on the level's grid
  double score;       // sum of the last stage
};

// Four consecutive windows of a row, of which those in `alive` (bit 0: the first) are still candidates.
struct CascadeQuad {
  std::int32_t first;
  std::uint32_t alive;
};

struct CascadeRow {
  const std::uint32_t* corners;  // window i has its first corner at corners[i]
  std::int64_t count;
  // Working memory: count + kCascadePadding, and count elements.
  float* scale;
  CascadeQuad* quads;
};

struct CascadeKernels {
  // Writes the windows of a row that pass all stages (room for `count`) and returns their number.
  std::int64_t (*row)(const CascadePlan& plan, const CascadeRow& row, CascadeHit* hits);
};
SACCADE_KERNELS(CascadeKernels, cascade_kernels)

// Elements that may be read behind the last window's corners.
constexpr std::int64_t kCascadePadding = 64;

}  // namespace saccade
