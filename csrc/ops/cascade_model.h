// A boosted cascade as its file describes it, and the check that makes it safe to run.
//
// P. Viola, M. Jones: Rapid object detection using a boosted cascade of simple features (CVPR 2001); tilted features:
// R. Lienhart, J. Maydt (ICIP 2002); local binary patterns: S. Liao et al. (ICB 2007). The format is OpenCV's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace saccade {

enum class CascadeFeatures : std::int32_t { kHaar = 0, kLbp = 1 };

constexpr int kLbpWords = 8;  // 256 codes, one bit each
constexpr std::int32_t kMaxCascadeWindow = 1024;

struct CascadeModel {
  CascadeFeatures features = CascadeFeatures::kHaar;
  std::int32_t width = 0, height = 0;     // of the detection window
  std::vector<float> stage_thresholds;    // (stages): as in the file
  std::vector<std::int32_t> stage_trees;  // (stages): number of trees
  std::vector<std::int32_t> tree_nodes;   // (trees): number of nodes; a tree has one leaf more
  std::vector<std::int32_t> nodes;        // (nodes, 3): left, right, feature; > 0 a node of the tree, else -leaf
  std::vector<float> thresholds;          // (nodes): Haar, value < threshold goes left
  std::vector<std::int32_t> subsets;      // (nodes, 8): LBP, a set bit goes left
  std::vector<float> leaves;              // (nodes + trees)
  std::vector<std::int32_t> rects;        // (features, 3, 4): x, y, w, h; LBP: the first, one cell of 3 x 3
  std::vector<float> weights;             // (features, 3): Haar; 0 where a rectangle is absent
  std::vector<std::uint8_t> tilted;       // (features): Haar
};

// Throws ValueError that names the part ("stage 3, tree 0, node 1"): array lengths, finite numbers, trees that
// are trees, every rectangle (tilted: its four corners) inside the window.
void check_cascade(const std::string& op, const CascadeModel& model);

}  // namespace saccade
