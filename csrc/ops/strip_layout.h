// A strip of a source plane, copied so that every tap of a grid (csrc/math/conv2d.h) finds the cell of result (p, q) at
// one constant distance from p * pitch + q: split into parts by the remainders of the steps, zeros where the taps reach
// outside. Each row of results is followed by as many columns as the taps reach beyond it.
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
    std::vector<std::int64_t> y(grid.taps), x(grid.taps);
    for (std::int64_t t = 0; t < grid.taps; ++t) {
      y[t] = floor_divide(grid.tap_y[t], grid.step_y), x[t] = floor_divide(grid.tap_x[t], grid.step_x);
      const std::pair<std::int64_t, std::int64_t> part = {grid.tap_y[t] - y[t] * grid.step_y,
                                                          grid.tap_x[t] - x[t] * grid.step_x};
      auto found = std::find(parts_.begin(), parts_.end(), part);
      if (found == parts_.end()) found = parts_.insert(found, part);
      tap_part_.push_back(found - parts_.begin());
    }
    if (grid.taps > 0) {
      const auto [low_y, high_y] = std::minmax_element(y.begin(), y.end());
      const auto [low_x, high_x] = std::minmax_element(x.begin(), x.end());
      first_y_ = *low_y, halo_ = *high_y - *low_y, first_x_ = *low_x, reach_ = *high_x - *low_x;
    }
    pitch_ = grid.columns + reach_;
    for (std::int64_t t = 0; t < grid.taps; ++t) tap_place_.push_back((y[t] - first_y_) * pitch_ + x[t] - first_x_);
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
                   {grid_.source_h, grid_.source_w, (first + first_y_) * grid_.step_y + parts_[i].first,
                    first_x_ * grid_.step_x + parts_[i].second, grid_.step_y, grid_.step_x, rows + halo_, pitch_},
                   to + i * part(rows));
  }

 private:
  static std::int64_t floor_divide(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0); }
  std::int64_t parts() const { return static_cast<std::int64_t>(parts_.size()); }
  std::int64_t part(std::int64_t rows) const { return (rows + halo_) * pitch_; }

  const ConvGrid& grid_;
  const std::int64_t lanes_;
  std::vector<std::pair<std::int64_t, std::int64_t>> parts_;  // remainders along y and x
  std::vector<std::int64_t> tap_part_, tap_place_;
  std::int64_t first_y_ = 0, first_x_ = 0, halo_ = 0, reach_ = 0, pitch_ = 0;
};

// The registers that cover the results of a strip: anew in every row, or laid through the rows as if they were one,
// where that is allowed and takes fewer.
class StripRegisters {
 public:
  StripRegisters(const ConvGrid& grid, const StripLayout& layout, std::int64_t rows, std::int64_t lanes, bool through)
      : columns_(grid.columns),
        pitch_(layout.pitch()),
        lanes_(lanes),
        per_row_((columns_ + lanes - 1) / lanes),
        through_(through && through_rows(rows) < rows * per_row_) {
    for (std::int64_t i = 0; i < count(rows); ++i)
      starts_.push_back(through_ ? i * lanes : i / per_row_ * pitch_ + i % per_row_ * lanes);
  }

  std::int64_t count(std::int64_t rows) const { return through_ ? through_rows(rows) : rows * per_row_; }
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
