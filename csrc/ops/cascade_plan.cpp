#include "ops/cascade_plan.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "common/error.h"

namespace saccade {

namespace {

// The largest area * squares - sum^2 that OpenCV takes for flat. It normalises by v = float(1 / sqrt(that)) and
// requires area * v < 0.1; each step is monotone, so the rule is one comparison with a number found by bisection of the
// bits.
double flat_variance(double area) {
  const auto flat = [area](double variance) {
    if (!(variance > 0)) return true;
    const float scale = static_cast<float>(1.0 / std::sqrt(variance));
    return !(static_cast<double>(static_cast<float>(area) * scale) < 0.1);
  };
  std::uint64_t low = 0, high = std::bit_cast<std::uint64_t>(std::numeric_limits<double>::max());
  while (high - low > 1) {
    const std::uint64_t middle = low + (high - low) / 2;
    (flat(std::bit_cast<double>(middle)) ? low : high) = middle;
  }
  return std::bit_cast<double>(low);
}

using Point = std::pair<std::int16_t, std::int16_t>;

// The corners of a - b - c + d.
std::array<Point, 4> rect_corners(const std::int32_t* r, bool tilted) {
  const auto at = [](std::int32_t x, std::int32_t y) {
    return Point{static_cast<std::int16_t>(x), static_cast<std::int16_t>(y)};
  };
  const std::int32_t x = r[0], y = r[1], w = r[2], h = r[3];
  if (tilted) return {at(x, y), at(x - h, y + h), at(x + w, y + w), at(x + w - h, y + w + h)};
  return {at(x, y), at(x + w, y), at(x, y + h), at(x + w, y + h)};
}

// The same linear combination of corners, equal corners merged; coefficient -> corners. Empty unless every weight is an
// integer and every product and sum of OpenCV's float evaluation is an integer below 2^24, hence exact in any order.
std::map<int, std::vector<Point>> merged_corners(const std::int32_t* rects, const float* weights, bool tilted) {
  std::map<Point, int> coefficient;
  double largest = 0;
  for (int k = 0; k < 3; ++k) {
    if (weights[k] == 0) continue;
    if (weights[k] != std::nearbyint(weights[k])) return {};
    const std::int32_t* r = rects + 4 * k;
    largest += std::fabs(weights[k]) * 255.0 * (tilted ? 2.0 : 1.0) * r[2] * r[3];
    if (largest >= 1 << 24) return {};
    const auto corner = rect_corners(r, tilted);
    const int weight = static_cast<int>(weights[k]), sign[4] = {1, -1, -1, 1};
    for (std::size_t c = 0; c < 4; ++c) coefficient[corner[c]] += sign[c] * weight;
  }
  std::map<int, std::vector<Point>> by_coefficient;
  for (const auto& [point, c] : coefficient)
    if (c != 0) by_coefficient[c].push_back(point);
  return by_coefficient;
}

std::vector<std::int32_t> breadth_first(const std::int32_t* nodes) {
  std::vector<std::int32_t> order = {0};
  for (std::size_t n = 0; n < order.size(); ++n)
    for (int side = 0; side < 2; ++side)
      if (const std::int32_t child = nodes[3 * order[n] + side]; child > 0) order.push_back(child);
  return order;
}

std::int32_t int32_size(const auto& vector) { return static_cast<std::int32_t>(vector.size()); }

}  // namespace

CascadeLayout cascade_layout(const CascadeModel& model, bool tilted, std::int64_t width, std::int64_t step) {
  CascadeLayout layout;
  layout.step = step;
  const std::int64_t columns = (width + 1 + 15) / 16 * 16 + 16;
  layout.half = step == 1 ? 0 : (columns / 2 + 15) / 16 * 16;
  const std::int64_t plane = step == 1 ? columns : 2 * layout.half;
  const bool haar = model.features == CascadeFeatures::kHaar;
  layout.squares = haar ? plane : 0;
  layout.tilted = tilted ? 2 * plane : 0;
  layout.row = plane * (haar ? tilted ? 3 : 2 : 1);
  // An odd number of cache lines: rows of equal columns then fall into different sets of the cache.
  if (layout.row / 16 % 2 == 0) layout.row += 16;
  require(layout.row * (model.height + 1) < std::numeric_limits<std::int32_t>::max() / 2,
          "detect: image must be less wide for a window of ", model.height, " rows, got ", width, " columns");
  return layout;
}

CascadeProgram::CascadeProgram(const CascadeModel& model)
    : haar_(model.features == CascadeFeatures::kHaar), width_(model.width), height_(model.height) {
  if (haar_) least_variance_ = flat_variance(static_cast<double>((width_ - 2) * (height_ - 2)));
  std::size_t node = 0;
  for (std::size_t t = 0; t < model.tree_nodes.size(); ++t) {
    first_node_.push_back(node);
    first_leaf_.push_back(node + t);
    node += static_cast<std::size_t>(model.tree_nodes[t]);
  }
  std::size_t tree = 0;
  trees_.resize(model.tree_nodes.size());
  for (std::size_t s = 0; s < model.stage_trees.size(); ++s) {
    first_tree_.push_back(tree);
    tree += static_cast<std::size_t>(model.stage_trees[s]);
  }
  for (std::size_t s = 0; s < model.stage_trees.size(); ++s) add_stage(model, s);
}

CascadeProgram::Corners CascadeProgram::haar_corners(const CascadeModel& model, std::size_t feature) {
  const std::int32_t* rects = &model.rects[feature * 12];
  const float* weights = &model.weights[feature * 3];
  Corners corners;
  corners.tilted = model.tilted[feature] != 0;
  auto merged = merged_corners(rects, weights, corners.tilted);
  std::vector<Point> points;
  const auto append = [&points](const std::vector<Point>& more) {
    points.insert(points.end(), more.begin(), more.end());
  };
  if (merged.size() == 4 && merged[1].size() == 2 && merged[-1].size() == 2 && merged[2].size() == 1 &&
      merged[-2].size() == 1) {
    corners.form = CascadeForm::kEdge;
    points = {merged[1][0], merged[-1][0], merged[1][1], merged[-1][1], merged[2][0], merged[-2][0]};
  } else if (merged.size() == 3 && merged[1].size() == 4 && merged[-2].size() == 4 && merged[4].size() == 1) {
    corners.form = CascadeForm::kQuad;
    append(merged[1]);
    append(merged[-2]);
    append(merged[4]);
  } else {
    corners.form = weights[2] != 0 ? CascadeForm::kRects3 : CascadeForm::kRects2;
    constexpr std::int32_t kAbsent[4] = {};
    for (int k = 0; k < (weights[2] != 0 ? 3 : 2); ++k) {
      const auto four = rect_corners(weights[k] != 0 ? rects + 4 * k : kAbsent, corners.tilted);
      points.insert(points.end(), four.begin(), four.end());
    }
  }
  for (std::size_t c = 0; c < points.size(); ++c) corners.x[c] = points[c].first, corners.y[c] = points[c].second;
  return corners;
}

CascadeProgram::Corners CascadeProgram::lbp_corners(const CascadeModel& model, std::size_t feature) {
  const std::int32_t* r = &model.rects[feature * 12];
  Corners corners;
  for (int c = 0; c < 16; ++c) {
    corners.x[c] = static_cast<std::int16_t>(r[0] + c % 4 * r[2]);
    corners.y[c] = static_cast<std::int16_t>(r[1] + c / 4 * r[3]);
  }
  return corners;
}

void CascadeProgram::add_tree(const CascadeModel& model, std::size_t tree) {
  const std::int32_t* nodes = &model.nodes[first_node_[tree] * 3];
  const float* leaves = &model.leaves[first_leaf_[tree]];
  const std::int32_t count = model.tree_nodes[tree];
  trees_[tree] = {int32_size(corners_), int32_size(leaves_), count};
  const std::vector<std::int32_t> order = breadth_first(nodes);
  std::vector<std::int32_t> place(order.size());
  for (std::size_t n = 0; n < order.size(); ++n)
    place[static_cast<std::size_t>(order[n])] = static_cast<std::int32_t>(n);
  for (const std::int32_t n : order) {
    const std::size_t global = first_node_[tree] + static_cast<std::size_t>(n);
    const std::size_t feature = static_cast<std::size_t>(nodes[3 * n + 2]);
    for (int side = 0; side < 2; ++side) {
      const std::int32_t child = nodes[3 * n + side];
      children_.push_back(child > 0 ? place[static_cast<std::size_t>(child)] : child);
    }
    corners_.push_back(haar_ ? haar_corners(model, feature) : lbp_corners(model, feature));
    forms_.push_back(corners_.back().form);
    tilted_ = tilted_ || corners_.back().tilted;
    if (haar_) {
      const float* w = &model.weights[feature * 3];
      haar_nodes_.push_back({{}, {w[0], w[1], w[2]}, model.thresholds[global]});
    } else {
      CascadeLbpNode node{};
      for (std::size_t k = 0; k < kLbpWords; ++k)
        node.subset[k] = static_cast<std::uint32_t>(model.subsets[global * kLbpWords + k]);
      lbp_nodes_.push_back(node);
    }
  }
  if (count == 1) {
    leaves_.insert(leaves_.end(), {leaves[-nodes[0]], leaves[-nodes[1]]});
  } else if (count == 2) {
    const std::int32_t* second = nodes + 3;
    for (int side = 0; side < 2; ++side)
      for (int side2 = 0; side2 < 2; ++side2)
        leaves_.push_back(leaves[nodes[side] > 0 ? -second[side2] : -nodes[side]]);
  } else {
    leaves_.insert(leaves_.end(), leaves, leaves + count + 1);
  }
}

void CascadeProgram::add_stage(const CascadeModel& model, std::size_t stage) {
  const std::size_t count = static_cast<std::size_t>(model.stage_trees[stage]), first = first_tree_[stage];
  // Equal shapes together: nodes per tree, then the forms of the first two nodes.
  std::vector<std::array<std::size_t, 4>> order;
  for (std::size_t t = first; t < first + count; ++t) {
    const std::size_t nodes = static_cast<std::size_t>(model.tree_nodes[t]);
    std::array<std::size_t, 4> key = {nodes, 0, 0, t};
    for (std::size_t n = 0; haar_ && n < std::min<std::size_t>(nodes, 2); ++n) {
      const std::int32_t feature = model.nodes[(first_node_[t] + n) * 3 + 2];
      key[1 + n] = static_cast<std::size_t>(haar_corners(model, static_cast<std::size_t>(feature)).form);
    }
    order.push_back(key);
  }
  std::sort(order.begin(), order.end());

  CascadeStage result{};
  result.threshold = static_cast<double>(model.stage_thresholds[stage] - 1e-5f);
  result.first_run = int32_size(runs_);
  result.first_tree = static_cast<std::int32_t>(first);
  result.tree_count = static_cast<std::int32_t>(count);
  double magnitude = 0;
  bool vectorised = true;
  for (std::size_t k = 0; k < count; ++k) {
    const std::size_t tree = order[k][3];
    add_tree(model, tree);
    const CascadeTree& added = trees_[tree];
    vectorised = vectorised && added.node_count <= kMaxCascadeTree;
    double largest = 0;
    for (std::size_t l = static_cast<std::size_t>(added.leaf); l < leaves_.size(); ++l)
      largest = std::max(largest, static_cast<double>(std::fabs(leaves_[l])));
    magnitude += largest;
    const bool new_run =
        k == 0 || order[k][0] != order[k - 1][0] || (order[k][0] == 1 && order[k][1] != order[k - 1][1]);
    if (new_run) runs_.push_back({added.node_count, 0, added.node, added.leaf});
    ++runs_.back().tree_count;
  }
  result.run_count = int32_size(runs_) - result.first_run;
  // Sums of n floats are within n u (1 + n u) sum|x| of the exact one (u = 2^-24, n u < 1/2).
  const double terms = static_cast<double>(count) + result.run_count;
  const double error = terms * 0x1p-24 * 1.5 * magnitude;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (!vectorised || terms * 0x1p-24 > 0.25 || !(magnitude < 1e37)) {
    runs_.resize(static_cast<std::size_t>(result.first_run));
    result.run_count = 0;
    result.reject = -kInfinity;
    result.accept = kInfinity;
  } else {
    result.reject = std::nextafter(static_cast<float>(result.threshold - error), -kInfinity);
    result.accept = std::nextafter(static_cast<float>(result.threshold + error), kInfinity);
  }
  stages_.push_back(result);
}

CascadeProgram::Offsets CascadeProgram::offsets(const CascadeLayout& layout) const {
  Offsets result{haar_nodes_, lbp_nodes_, {}};
  const auto offset = [&layout](std::int64_t x, std::int64_t y) {
    return static_cast<std::int32_t>(y * layout.row + layout.column(x));
  };
  for (std::size_t n = 0; n < corners_.size(); ++n) {
    const Corners& corners = corners_[n];
    const auto plane = static_cast<std::int32_t>(corners.tilted ? layout.tilted : 0);
    for (std::size_t c = 0; haar_ && c < 12; ++c) result.haar[n].offset[c] = offset(corners.x[c], corners.y[c]) + plane;
    for (std::size_t c = 0; !haar_ && c < 16; ++c) result.lbp[n].offset[c] = offset(corners.x[c], corners.y[c]);
  }
  CascadePlan& plan = result.plan;
  plan.stages = stages_.data();
  plan.runs = runs_.data();
  plan.trees = trees_.data();
  plan.forms = forms_.data();
  plan.leaves = leaves_.data();
  plan.children = children_.data();
  plan.stage_count = int32_size(stages_);
  plan.haar = haar_;
  plan.haar_nodes = result.haar.data();
  plan.lbp_nodes = result.lbp.data();
  const std::int64_t right = width_ - 1, bottom = height_ - 1;
  const std::int32_t norm[4] = {offset(1, 1), offset(right, 1), offset(1, bottom), offset(right, bottom)};
  std::copy(norm, norm + 4, plan.norm_offset);
  plan.square_offset = layout.squares;
  plan.area = static_cast<double>((width_ - 2) * (height_ - 2));
  plan.least_variance = least_variance_;
  return result;
}

}  // namespace saccade
