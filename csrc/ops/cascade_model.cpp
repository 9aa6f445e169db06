#include "ops/cascade_model.h"

#include <cmath>
#include <cstddef>

#include "common/error.h"

namespace saccade {

namespace {

// Where a message points to.
struct Place {
  std::size_t stage, tree;
  std::string text() const { return concat("stage ", stage, ", tree ", tree); }
};

void check_length(const std::string& op, const char* name, std::size_t actual, std::size_t expected) {
  require(actual == expected, op, ": ", name, " must have ", expected, " elements, got ", actual);
}

void check_rect(const std::string& op, const CascadeModel& model, std::size_t feature, int k) {
  const std::int32_t* r = &model.rects[(feature * 3 + static_cast<std::size_t>(k)) * 4];
  const std::int64_t x = r[0], y = r[1], w = r[2], h = r[3];
  bool inside = x >= 0 && y >= 0 && w >= 1 && h >= 1;
  if (model.features == CascadeFeatures::kLbp)
    inside = inside && x + 3 * w <= model.width && y + 3 * h <= model.height;
  else if (model.tilted[feature] != 0)
    inside = inside && x - h >= 0 && x + w <= model.width && y + w + h <= model.height;
  else
    inside = inside && x + w <= model.width && y + h <= model.height;
  require(inside, op, ": feature ", feature, ": rectangle ", k, " (", x, ", ", y, ", ", w, ", ", h,
          ") must lie inside the ", model.width, " x ", model.height, " window");
}

void check_features(const std::string& op, const CascadeModel& model, std::size_t count) {
  for (std::size_t f = 0; f < count; ++f) {
    check_rect(op, model, f, 0);
    if (model.features == CascadeFeatures::kLbp) continue;
    for (std::size_t k = 0; k < 3; ++k) {
      const float weight = model.weights[f * 3 + k];
      require(std::isfinite(weight), op, ": feature ", f, ": weight ", k, " must be finite, got ", weight);
      if (k > 0 && weight != 0) check_rect(op, model, f, static_cast<int>(k));
    }
  }
}

// Children are inside the tree, and every node is reached from the root in exactly one way: every walk ends at a leaf.
void check_tree(const std::string& op, const Place& place, const std::int32_t* nodes, std::int32_t count,
                std::size_t feature_count) {
  std::vector<bool> reached(static_cast<std::size_t>(count), false);
  std::vector<std::int32_t> queue = {0};
  reached[0] = true;
  for (std::size_t next = 0; next < queue.size(); ++next) {
    const std::int32_t n = queue[next], *node = nodes + 3 * static_cast<std::ptrdiff_t>(n);
    for (int side = 0; side < 2; ++side) {
      const std::int64_t child = node[side];
      require(-child <= count && child < count, op, ": ", place.text(), ", node ", n, ": a child must be a node below ",
              count, " or minus a leaf up to ", count, ", got ", child);
      if (child <= 0) continue;
      require(!reached[static_cast<std::size_t>(child)], op, ": ", place.text(), ", node ", child,
              ": a node must have one parent");
      reached[static_cast<std::size_t>(child)] = true;
      queue.push_back(static_cast<std::int32_t>(child));
    }
    require(node[2] >= 0 && static_cast<std::size_t>(node[2]) < feature_count, op, ": ", place.text(), ", node ", n,
            ": feature must be below ", feature_count, ", got ", node[2]);
  }
  require(queue.size() == static_cast<std::size_t>(count), op, ": ", place.text(), ": the root must reach all ", count,
          " nodes, got ", queue.size());
}

}  // namespace

void check_cascade(const std::string& op, const CascadeModel& model) {
  const bool haar = model.features == CascadeFeatures::kHaar;
  require(
      model.width >= 3 && model.height >= 3 && model.width <= kMaxCascadeWindow && model.height <= kMaxCascadeWindow,
      op, ": width and height must be between 3 and ", kMaxCascadeWindow, ", got ", model.width, " and ", model.height);
  const std::size_t stages = model.stage_thresholds.size(), trees = model.tree_nodes.size();
  require(stages > 0, op, ": a cascade must have at least one stage");
  check_length(op, "stage_trees", model.stage_trees.size(), stages);
  require(model.nodes.size() % 3 == 0, op, ": nodes must have three columns, got ", model.nodes.size(), " elements");
  const std::size_t nodes = model.nodes.size() / 3, features = model.tilted.size();
  check_length(op, "thresholds", model.thresholds.size(), haar ? nodes : 0);
  check_length(op, "subsets", model.subsets.size(), haar ? 0 : nodes * kLbpWords);
  check_length(op, "leaves", model.leaves.size(), nodes + trees);
  check_length(op, "rects", model.rects.size(), features * 12);
  check_length(op, "weights", model.weights.size(), features * 3);
  check_features(op, model, features);

  std::size_t tree = 0, node = 0;
  for (std::size_t s = 0; s < stages; ++s) {
    require(std::isfinite(model.stage_thresholds[s]), op, ": stage ", s, ": threshold must be finite, got ",
            model.stage_thresholds[s]);
    require(model.stage_trees[s] >= 1 && static_cast<std::size_t>(model.stage_trees[s]) <= trees - tree, op, ": stage ",
            s, ": a stage must have at least one tree, and no more than are left, got ", model.stage_trees[s]);
    for (std::int32_t t = 0; t < model.stage_trees[s]; ++t, ++tree) {
      const Place place{s, static_cast<std::size_t>(t)};
      const std::int32_t count = model.tree_nodes[tree];
      require(count >= 1 && static_cast<std::size_t>(count) <= nodes - node, op, ": ", place.text(),
              ": a tree must have at least one node, and no more than are left, got ", count);
      check_tree(op, place, &model.nodes[node * 3], count, features);
      for (std::size_t n = node; haar && n < node + static_cast<std::size_t>(count); ++n)
        require(std::isfinite(model.thresholds[n]), op, ": ", place.text(), ", node ", n - node,
                ": threshold must be finite, got ", model.thresholds[n]);
      for (std::size_t l = node + tree; l <= node + tree + static_cast<std::size_t>(count); ++l)
        require(std::isfinite(model.leaves[l]), op, ": ", place.text(), ", leaf ", l - node - tree,
                ": value must be finite, got ", model.leaves[l]);
      node += static_cast<std::size_t>(count);
    }
  }
  require(tree == trees, op, ": the stages must hold all ", trees, " trees, got ", tree);
  require(node == nodes, op, ": the trees must hold all ", nodes, " nodes, got ", node);
}

}  // namespace saccade
