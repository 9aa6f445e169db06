// A checked cascade prepared for the kernels: trees of a stage sorted by how they are evaluated, features as corners.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cascade.h"
#include "ops/cascade_model.h"

namespace saccade {

// Where an integral image keeps the corner (x, y): a row holds the sums, the sums of squares and the tilted sums, each
// as its even and then its odd columns when windows stand at every second pixel (step 2), so that the same corner of
// consecutive windows is contiguous.
struct CascadeLayout {
  std::int64_t step = 1;
  std::int64_t half = 0;     // from an even column to the odd one behind it (step 2)
  std::int64_t squares = 0;  // from the sums to the sums of squares
  std::int64_t tilted = 0;
  std::int64_t row = 0;

  std::int64_t column(std::int64_t x) const { return step == 1 ? x : (x & 1) * half + (x >> 1); }
};

// A layout for level images of at most `width` pixels. Throws ValueError when offsets would not fit 32 bits.
CascadeLayout cascade_layout(const CascadeModel& model, bool tilted, std::int64_t width, std::int64_t step);

class CascadeProgram {
 public:
  explicit CascadeProgram(const CascadeModel& model);

  bool tilted() const { return tilted_; }
  std::size_t leaf_count() const { return leaves_.size(); }

  // The nodes' corners as offsets of one layout. A plan borrows from both.
  struct Offsets {
    std::vector<CascadeHaarNode> haar;
    std::vector<CascadeLbpNode> lbp;
    CascadePlan plan;
  };
  Offsets offsets(const CascadeLayout& layout) const;

 private:
  struct Corners {
    CascadeForm form = CascadeForm::kRects2;
    bool tilted = false;
    std::int16_t x[16] = {}, y[16] = {};
  };
  void add_stage(const CascadeModel& model, std::size_t stage);
  void add_tree(const CascadeModel& model, std::size_t tree);
  static Corners haar_corners(const CascadeModel& model, std::size_t feature);
  static Corners lbp_corners(const CascadeModel& model, std::size_t feature);

  bool haar_, tilted_ = false;
  std::int32_t width_, height_;
  double least_variance_ = 0;
  std::vector<std::size_t> first_node_, first_leaf_, first_tree_;  // of the model's trees and stages
  std::vector<CascadeStage> stages_;
  std::vector<CascadeRun> runs_;
  std::vector<CascadeTree> trees_;
  std::vector<CascadeForm> forms_;
  std::vector<float> leaves_;
  std::vector<std::int32_t> children_;
  std::vector<Corners> corners_;             // of each node
  std::vector<CascadeHaarNode> haar_nodes_;  // weights and thresholds
  std::vector<CascadeLbpNode> lbp_nodes_;    // subsets
};

}  // namespace saccade
