#include "ops/roi_taps.h"

#include <algorithm>

#include "common/error.h"
#include "common/parallel.h"

namespace saccade {

template <class A>
void RoiTapBlock<A>::add_samples(const RoiAxis<A>& axis, std::int64_t p, std::int64_t length) {
  const std::size_t first = cell_.size();
  // Positions go one way, so a cell seen before is the last or the last but one.
  const auto add = [&](std::int64_t cell, A weight) {
    for (std::size_t i = cell_.size(); i > first && i + 2 > cell_.size(); --i) {
      if (cell_[i - 1] != cell) continue;
      weight_[i - 1] += weight;
      return;
    }
    cell_.push_back(static_cast<std::int32_t>(cell));
    weight_.push_back(weight);
  };
  const SampleRange range = sample_range(axis, p, length);
  for (std::int64_t i = range.first; i < range.last; ++i) {
    const LinearSample<A> sample = linear_sample(sample_position(axis, p, i), length);
    if (!sample.valid) continue;
    add(sample.low, sample.low_weight);
    add(sample.high, sample.high_weight);
  }
  const A share = A(1) / A(axis.grid);
  for (std::size_t i = first; i < cell_.size(); ++i) weight_[i] *= share;
}

template <class A>
void RoiTapBlock<A>::add_cells(const CellAxis<A>& axis, std::int64_t p, std::int64_t length) {
  // torchvision clips to length - 1, so the last row and column of a map are never pooled; results must agree.
  const CellRange range = cell_range(axis, p, length - 1);
  for (std::int64_t cell = range.first; cell < range.end; ++cell) {
    cell_.push_back(static_cast<std::int32_t>(cell));
    weight_.push_back(A(1) / A(range.end - range.first));
  }
}

template <class A>
void RoiTapBlock<A>::add_axis(const char* op, const TapAxis<A>& axis, std::int64_t bins, std::int64_t length) {
  const std::size_t base = cell_.size();
  for (std::int64_t p = 0; p < bins; ++p) {
    begin_.push_back(static_cast<std::int32_t>(cell_.size() - base));
    if (axis.whole_cells) {
      add_cells(axis.cells, p, length);
    } else if (axis.samples.grid > 0) {
      add_samples(axis.samples, p, length);
    }
    require(cell_.size() - base < std::size_t{1} << 31, op, ": output_size times sampling_ratio is too large, got ",
            bins, " bins");
  }
  begin_.push_back(static_cast<std::int32_t>(cell_.size() - base));
}

template <class A>
void RoiTapBlock<A>::add(const char* op, std::int64_t number, const TapAxis<A>& y, const TapAxis<A>& x,
                         std::int64_t pooled_h, std::int64_t pooled_w, std::int64_t h, std::int64_t w) {
  const TapAxis<A> none = {};
  const bool empty = !y.whole_cells && (y.samples.grid == 0 || x.samples.grid == 0);
  Entry entry = {};
  CellRect rect = {};
  entry.y_begin = begin_.size(), entry.y_taps = cell_.size();
  add_axis(op, empty ? none : y, pooled_h, h);
  if (cell_.size() > entry.y_taps) {
    const auto rows = std::minmax_element(cell_.begin() + entry.y_taps, cell_.end());
    rect.first_row = *rows.first, rect.end_row = *rows.second + 1;
  }
  entry.x_begin = begin_.size(), entry.x_taps = cell_.size(), entry.columns = columns_.size();
  // A region without a row to read needs no column either.
  add_axis(op, rect.end_row == rect.first_row ? none : x, pooled_w, w);
  if (cell_.size() > entry.x_taps) {
    const auto range = std::minmax_element(cell_.begin() + entry.x_taps, cell_.end());
    rect.first_column = *range.first, rect.end_column = *range.second + 1;
    slot_.assign(rect.end_column - rect.first_column, -1);
    for (std::size_t i = entry.x_taps; i < cell_.size(); ++i) {
      std::int32_t& slot = slot_[cell_[i] - rect.first_column];
      if (slot < 0) {
        slot = static_cast<std::int32_t>(columns_.size() - entry.columns);
        columns_.push_back(cell_[i]);
      }
      cell_[i] = slot;
    }
  }
  entry.column_count = static_cast<std::int32_t>(columns_.size() - entry.columns);
  entries_.push_back(entry);
  max_columns = std::max<std::int64_t>(max_columns, entry.column_count);
  region.roi.push_back(number);
  region.rect.push_back(rect);
  region.cells += (rect.end_row - rect.first_row) * (rect.end_column - rect.first_column);
}

template <class A>
RoiTaps<A> RoiTapBlock<A>::taps(std::int64_t i) const {
  const Entry& entry = entries_[i];
  const auto axis = [&](std::size_t begin, std::size_t taps) {
    return AxisTaps<A>{begin_.data() + begin, cell_.data() + taps, weight_.data() + taps};
  };
  return {axis(entry.y_begin, entry.y_taps), axis(entry.x_begin, entry.x_taps), columns_.data() + entry.columns,
          entry.column_count};
}

namespace {

template <class A>
TapAxis<A> tap_axis(A low, A high, A scale, std::int64_t bins, const RoiSampling& sampling) {
  if (sampling.whole_cells) return {{}, cell_axis(low, high, scale, bins, 0), true};
  return {roi_axis(low, high, scale, bins, sampling), {}, false};
}

}  // namespace

template <class A>
std::vector<RoiTapBlock<A>> plan_regions(const char* op, const Rois<A>& rois, const std::vector<std::int64_t>& level,
                                         const std::vector<RoiLevel>& levels, const RoiSampling& sampling,
                                         std::int64_t pooled_h, std::int64_t pooled_w) {
  const RoiOrder order = spatial_order(rois, level, levels);
  std::vector<RoiTapBlock<A>> blocks(order.runs.size());
  parallel_for_dynamic(static_cast<std::int64_t>(blocks.size()), 4, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t b = first; b < last; ++b) {
      const RoiRun& run = order.runs[b];
      blocks[b].region.map = run.map;
      const RoiLevel& on = levels[run.map % static_cast<std::int64_t>(levels.size())];
      for (std::int64_t i = run.begin; i < run.end; ++i) {
        const std::int64_t k = order.index[i];
        TapAxis<A> y = tap_axis(rois.y1[k], rois.y2[k], A(on.scale), pooled_h, sampling);
        const TapAxis<A> x = tap_axis(rois.x1[k], rois.x2[k], A(on.scale), pooled_w, sampling);
        if (level[k] < 0) y.samples.grid = 0;
        blocks[b].add(op, k, y, x, pooled_h, pooled_w, on.h, on.w);
      }
    }
  });
  return blocks;
}

template class RoiTapBlock<float>;
template class RoiTapBlock<double>;
template std::vector<RoiTapBlock<float>> plan_regions(const char*, const Rois<float>&, const std::vector<std::int64_t>&,
                                                      const std::vector<RoiLevel>&, const RoiSampling&, std::int64_t,
                                                      std::int64_t);
template std::vector<RoiTapBlock<double>> plan_regions(const char*, const Rois<double>&,
                                                       const std::vector<std::int64_t>&, const std::vector<RoiLevel>&,
                                                       const RoiSampling&, std::int64_t, std::int64_t);

}  // namespace saccade
