// A band of an image of few channels inside the zeros that its convolution sees around it, channels innermost: so the
// cells of a row of the kernel are one run of memory at every result, and a result's runs lie at equal steps.
#pragma once

#include <algorithm>
#include <cstring>

#include "common/scratch.h"
#include "ops/conv_gemm.h"

namespace saccade {

template <class T>
class PaddedBand {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  static constexpr std::int64_t kResults = 2048;  // of a band, about

 public:
  // Whether runs of `run` taps are rows of the kernel, equally far apart.
  static bool serves(const ConvGrid& grid, std::int64_t run) {
    for (std::int64_t t = run; t < grid.taps; t += run)
      if (grid.tap_x[t] != grid.tap_x[0] || grid.tap_y[t] - grid.tap_y[t - run] != grid.tap_y[run] - grid.tap_y[0])
        return false;
    return run > 1;
  }

  PaddedBand(const ConvProblem& problem, std::int64_t run)
      : grid_(problem.grid),
        channels_(problem.channels),
        run_(run),
        runs_(grid_.taps / run),
        spread_(runs_ > 1 ? grid_.tap_y[run] - grid_.tap_y[0] : 0),
        rows_(std::min(grid_.rows, std::max<std::int64_t>(1, kResults / grid_.columns))),
        height_((rows_ - 1) * grid_.step_y + (runs_ - 1) * spread_ + 1),
        line_(((grid_.columns - 1) * grid_.step_x + run) * channels_),
        kernels_(conv_gemm_kernels().get<T>()),
        cells_(height_ * line_ + kernels_.lanes) {
    std::memset(cells_.data(), 0, cells_.size() * sizeof(A));
  }

  // Rows of results.
  std::int64_t rows() const { return rows_; }

  // The cells of rows of results from `row` on; nothing is ever written to the columns that stand for padding.
  void load(const T* image, std::int64_t row) const {
    const std::int64_t left = grid_.tap_x[0], top = row * grid_.step_y + grid_.tap_y[0];
    const std::int64_t x0 = std::max<std::int64_t>(0, left), x1 = std::min(grid_.source_w, left + line_ / channels_);
    for (std::int64_t i = 0; i < height_; ++i) {
      A* to = cells_.data() + i * line_;
      if (top + i < 0 || top + i >= grid_.source_h || x0 >= x1) {
        std::memset(to, 0, line_ * sizeof(A));
      } else {
        kernels_.copy_pixel(image + ((top + i) * grid_.source_w + x0) * channels_, 1, (x1 - x0) * channels_,
                            to + (x0 - left) * channels_);
      }
    }
  }

  // cells[result][pair], `pitch` apart, and up to a register past the last; results counted from the band's first.
  void gather(std::int64_t first, std::int64_t count, A* cells, std::int64_t pitch) const {
    for (std::int64_t r = first; r < first + count;) {
      const std::int64_t column = r % grid_.columns, many = std::min(grid_.columns - column, first + count - r);
      const A* from = cells_.data() + r / grid_.columns * grid_.step_y * line_ + column * grid_.step_x * channels_;
      kernels_.gather_runs(from, grid_.step_x * channels_, many, spread_ * line_, runs_, run_ * channels_,
                           cells + (r - first) * pitch, pitch);
      r += many;
    }
  }

 private:
  const ConvGrid& grid_;
  const std::int64_t channels_, run_, runs_, spread_, rows_, height_, line_;
  const ConvGemmFunctions<T>& kernels_;
  const Scratch<A> cells_;
};

}  // namespace saccade
