// A strip of a source plane, copied so that every tap of a grid (csrc/math/conv2d.h) finds the cell of result (p, q) at
// one constant distance from p * pitch + q: zeros where the taps reach outside, and one part for each remainder of the
// steps. Each row of results is followed by as many columns as the taps reach beyond it, the last row by as many rows;
// taps that lie so far apart that copies of their own take less room (large dilations) have them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/conv_planes.h"
#include "math/conv2d.h"

namespace saccade {

class StripLayout {
 public:
  // lanes: of a register.
  StripLayout(const ConvGrid& grid, std::int64_t lanes) : grid_(grid), lanes_(lanes) {
    const Axis y(grid.tap_y, grid.taps, grid.step_y, kNominalRows), x(grid.tap_x, grid.taps, grid.step_x, grid.columns);
    halo_ = y.reach, reach_ = x.reach, pitch_ = grid.columns + reach_;
    for (std::int64_t t = 0; t < grid.taps; ++t) {
      const Part part = {y.base[t], x.base[t]};
      auto found = std::find(parts_.begin(), parts_.end(), part);
      if (found == parts_.end()) found = parts_.insert(found, part);
      tap_part_.push_back(found - parts_.begin());
      tap_place_.push_back((grid.tap_y[t] - part.first) / grid.step_y * pitch_ +
                           (grid.tap_x[t] - part.second) / grid.step_x);
    }
  }

  std::int64_t pitch() const { return pitch_; }
  // Cells of one channel in a strip of `rows` rows of results.
  std::int64_t plane(std::int64_t rows) const { return parts() * part(rows); }
  // What registers of results may read behind the last plane.
  std::int64_t slack() const { return reach_ + lanes_; }
  std::int64_t halo() const { return halo_; }

  // Where tap t finds the cell of result (0, 0).
  std::vector<std::int64_t> offsets(std::int64_t rows) const {
    std::vector<std::int64_t> offsets;
    for (std::int64_t t = 0; t < grid_.taps; ++t) offsets.push_back(tap_part_[t] * part(rows) + tap_place_[t]);
    return offsets;
  }

  // Copies the plane's cells for results' rows [first, first + rows).
  template <class T, class A>
  void copy(const ConvPlanesFunctions<T>& kernels, const T* source, std::int64_t first, std::int64_t rows,
            A* to) const {
    for (std::size_t i = 0; i < parts_.size(); ++i)
      kernels.copy(source,
                   {grid_.source_h, grid_.source_w, first * grid_.step_y + parts_[i].first, parts_[i].second,
                    grid_.step_y, grid_.step_x, rows + halo_, pitch_},
                   to + i * part(rows));
  }

 private:
  // Rows of a strip, about, when it is decided whether taps share its copy.
  static constexpr std::int64_t kNominalRows = 4;

  // Where, along one axis, the copy begins in which each tap finds its cells: taps with the same remainder share one
  // that is `reach` longer than the results, unless one for each tap is shorter together.
  struct Axis {
    Axis(const std::int64_t* taps, std::int64_t count, std::int64_t step, std::int64_t results) {
      if (count == 0) return;
      std::vector<std::int64_t> distinct(taps, taps + count);
      std::sort(distinct.begin(), distinct.end());
      distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
      const std::int64_t low = floor_divide(distinct.front(), step), high = floor_divide(distinct.back(), step);
      const bool shared = high - low <= (static_cast<std::int64_t>(distinct.size()) - 1) * results;
      if (shared) reach = high - low;
      for (std::int64_t t = 0; t < count; ++t)
        base.push_back(shared ? taps[t] - (floor_divide(taps[t], step) - low) * step : taps[t]);
    }
    static std::int64_t floor_divide(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0); }
    std::vector<std::int64_t> base;
    std::int64_t reach = 0;
  };

  using Part = std::pair<std::int64_t, std::int64_t>;  // where its first cell lies in the source, for result (0, 0)
  std::int64_t parts() const { return static_cast<std::int64_t>(parts_.size()); }
  std::int64_t part(std::int64_t rows) const { return (rows + halo_) * pitch_; }

  const ConvGrid& grid_;
  const std::int64_t lanes_;
  std::vector<Part> parts_;
  std::vector<std::int64_t> tap_part_, tap_place_;
  std::int64_t halo_, reach_, pitch_;
};

// The registers that cover the results of a strip: anew in every row, or laid through the rows as if they were one,
// where that is allowed and takes no more.
class StripRegisters {
 public:
  StripRegisters(const ConvGrid& grid, const StripLayout& layout, std::int64_t rows, std::int64_t lanes, bool through)
      : columns_(grid.columns),
        pitch_(layout.pitch()),
        lanes_(lanes),
        per_row_((columns_ + lanes - 1) / lanes),
        through_(through && through_rows(rows) <= rows * per_row_) {
    for (std::int64_t i = 0; i < count(rows); ++i)
      starts_.push_back(through_ ? i * lanes : i / per_row_ * pitch_ + i % per_row_ * lanes);
  }

  std::int64_t count(std::int64_t rows) const { return through_ ? through_rows(rows) : rows * per_row_; }
  std::int64_t per_row() const { return per_row_; }
  const std::int64_t* starts() const { return starts_.data(); }

  // Calls body(row, column, lane, length) for every run of results in registers [first, first + count).
  template <class Body>
  void for_each_run(std::int64_t first, std::int64_t count, std::int64_t rows, const Body& body) const {
    if (through_) return runs_through(first * lanes_, count * lanes_, rows, body);
    for (std::int64_t i = first; i < first + count; ++i) {
      const std::int64_t column = i % per_row_ * lanes_;
      body(i / per_row_, column, (i - first) * lanes_, std::min(lanes_, columns_ - column));
    }
  }

 private:
  std::int64_t through_rows(std::int64_t rows) const { return ((rows - 1) * pitch_ + columns_ + lanes_ - 1) / lanes_; }

  template <class Body>
  void runs_through(std::int64_t begin, std::int64_t length, std::int64_t rows, const Body& body) const {
    const std::int64_t end = begin + length;
    for (std::int64_t p = begin / pitch_; p < rows && p * pitch_ < end; ++p) {
      const std::int64_t from = std::max(begin, p * pitch_), to = std::min(end, p * pitch_ + columns_);
      if (from < to) body(p, from - p * pitch_, from - begin, to - from);
    }
  }

  const std::int64_t columns_, pitch_, lanes_, per_row_;
  const bool through_;
  std::vector<std::int64_t> starts_;
};

}  // namespace saccade
