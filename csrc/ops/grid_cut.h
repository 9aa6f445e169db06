// Memory for a minimum cut on a grid, and the cut (csrc/kernels/grid_cut.h).
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "kernels/grid_cut.h"

namespace saccade {

// Zeros that take no memory until they are touched: most of the lists of a cut are short.
class GridCutWorkspace {
 public:
  void* zeros(std::size_t bytes) {
    block_.reset(std::calloc(bytes + kAlignment, 1));
    if (!block_) throw std::bad_alloc();
    return data();
  }
  void* data() const {
    const auto at = reinterpret_cast<std::uintptr_t>(block_.get());
    return reinterpret_cast<void*>((at + kAlignment - 1) / kAlignment * kAlignment);
  }

 private:
  static constexpr std::size_t kAlignment = 64;
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> block_;
};

inline void grid_cut(GridCut<std::int32_t> run, GridCutWorkspace& workspace) {
  const std::size_t bytes = grid_cut_kernels().bytes_i32(run);
  run.workspace = run.resume ? workspace.data() : workspace.zeros(bytes);
  grid_cut_kernels().i32(run);
}
inline void grid_cut(const GridCut<std::int32_t>& run) {
  GridCutWorkspace workspace;
  grid_cut(run, workspace);
}
inline void grid_cut(GridCut<float> run) {
  GridCutWorkspace workspace;
  run.workspace = workspace.zeros(grid_cut_kernels().bytes_f32(run));
  grid_cut_kernels().f32(run);
}
inline void grid_cut(GridCut<double> run) {
  GridCutWorkspace workspace;
  run.workspace = workspace.zeros(grid_cut_kernels().bytes_f64(run));
  grid_cut_kernels().f64(run);
}

}  // namespace saccade
