// The forward pass of ps_roi_align for regions whose bins are at most kPsLanes columns wide, on planes: those of a
// contiguous map, or with channels innermost those of a window that is turned into planes first.
#pragma once

#include <algorithm>
#include <vector>

#include "common/large_output.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/channel_block.h"
#include "kernels/ps_roi_align.h"
#include "math/half.h"
#include "ops/roi_taps.h"

namespace saccade {

template <class T, class A>
class PsBins {
 public:
  PsBins(const std::vector<RoiTapBlock<A>>& blocks, const TensorView& input, const TensorView& out)
      : input_(input), out_(out), h_(input.size(2)), w_(input.size(3)), channels_(input.size(1)) {
    std::int64_t cells = 0;
    for (const auto& block : blocks) cells += block.region.cells;
    // Channels innermost: turning the map costs more than a few regions do.
    const bool worthwhile = planar() ? w_ >= kPsLanes : cells >= input.size(0) * h_ * w_;
    for (const auto& block : blocks)
      for (std::size_t i = 0; i < block.region.roi.size(); ++i)
        narrow_.push_back(worthwhile && is_narrow(block.taps(i)));
    std::size_t position = 0;
    for (const auto& block : blocks)
      for (std::size_t i = 0; i < block.region.roi.size(); ++i)
        if (narrow_[position++]) add(block.taps(i), block.region.roi[i], block.region.map);
  }

  // Whether region i, counted over all blocks, is done here.
  bool covers(std::size_t i) const { return narrow_[i] != 0; }

  void run() const {
    if (regions_.empty()) return;
    if (planar()) {
      run_planes();
    } else {
      run_windows();
    }
  }

 private:
  struct Region {
    std::int64_t image, out;
  };
  struct RowRun {
    std::int32_t begin, count, first, last;
  };

  bool wide() const { return span_ > kPsLanes / 2; }
  bool planar() const { return input_.is_contiguous(); }
  std::int64_t bins() const { return out_.size(2) * out_.size(3); }

  static std::int64_t column_of(const RoiTaps<A>& roi, std::int32_t tap) { return roi.columns[roi.x.cell[tap]]; }
  // Columns from the first to the last of bin q; rows likewise.
  CellRange columns_of(const RoiTaps<A>& roi, std::int64_t q) const {
    CellRange range = {w_, 0};
    for (std::int32_t t = roi.x.begin[q]; t < roi.x.begin[q + 1]; ++t)
      range = {std::min(range.first, column_of(roi, t)), std::max(range.end, column_of(roi, t) + 1)};
    return range.end == 0 ? CellRange{0, 0} : range;
  }
  CellRange rows_of(const RoiTaps<A>& roi, std::int64_t p) const {
    CellRange range = {h_, 0};
    for (std::int32_t t = roi.y.begin[p]; t < roi.y.begin[p + 1]; ++t)
      range = {std::min<std::int64_t>(range.first, roi.y.cell[t]),
               std::max<std::int64_t>(range.end, roi.y.cell[t] + 1)};
    return range.end == 0 ? CellRange{0, 0} : range;
  }
  bool is_narrow(const RoiTaps<A>& roi) {
    std::int64_t columns = 0, rows = 0;
    for (std::int64_t q = 0; q < out_.size(3); ++q) {
      const CellRange range = columns_of(roi, q);
      columns = std::max(columns, range.end - range.first);
    }
    for (std::int64_t p = 0; p < out_.size(2); ++p) {
      const CellRange range = rows_of(roi, p);
      rows = std::max(rows, range.end - range.first);
    }
    if (columns > kPsLanes || rows > kMaxRows) return false;
    span_ = std::max(span_, columns), extent_ = std::max(extent_, rows);
    return true;
  }

  void add(const RoiTaps<A>& roi, std::int64_t k, std::int64_t image) {
    regions_.push_back({image, k * out_.size(1) * bins()});
    for (std::int64_t p = 0; p < out_.size(2); ++p) {
      const CellRange range = rows_of(roi, p);
      rows_.push_back({static_cast<std::int32_t>(row_.size()), roi.y.begin[p + 1] - roi.y.begin[p],
                       static_cast<std::int32_t>(range.first),
                       static_cast<std::int32_t>(std::max<std::int64_t>(range.end - 1, 0))});
      row_.insert(row_.end(), roi.y.cell + roi.y.begin[p], roi.y.cell + roi.y.begin[p + 1]);
      row_weight_.insert(row_weight_.end(), roi.y.weight + roi.y.begin[p], roi.y.weight + roi.y.begin[p + 1]);
    }
    for (std::int64_t q = 0; q < out_.size(3); ++q) {
      const CellRange range = columns_of(roi, q);
      // A register must not reach past the last row's end; a window has room there.
      const std::int64_t last = planar() ? w_ - (wide() ? kPsLanes : kPsLanes / 2) : w_;
      const std::int64_t first = std::min(range.first, last), lane = range.first - first;
      columns_.push_back({static_cast<std::int32_t>(first), static_cast<std::int32_t>(lane),
                          static_cast<std::int32_t>(range.end - range.first)});
      column_weight_.resize(column_weight_.size() + kPsLanes);
      A* weight = &*column_weight_.end() - kPsLanes;
      for (std::int32_t t = roi.x.begin[q]; t < roi.x.begin[q + 1]; ++t)
        weight[column_of(roi, t) - first] += roi.x.weight[t];
    }
  }

  PsTables<A> tables(std::int64_t q) const {
    return {row_.data(), row_weight_.data(), columns_.data() + q, column_weight_.data() + q * kPsLanes};
  }
  PsNarrowBin bin(std::size_t region, std::int64_t p, std::int64_t q, std::int64_t plane, std::int64_t out) const {
    const RowRun& run = rows_[region * out_.size(2) + p];
    return {run.begin, run.count, static_cast<std::int32_t>(region * out_.size(3) + q),
            static_cast<std::int32_t>(plane), out};
  }

  // One plane serves all regions, from its top to its bottom, so that its rows are read into L1 once. Regions with
  // equally many rows stand together: the loop over rows is predicted.
  void run_planes() const {
    constexpr std::int64_t kBand = 8, kFetched = 384 << 10;
    std::vector<std::vector<PsNarrowBin>> lists(input_.size(0) * out_.size(2));
    std::vector<std::size_t> order(regions_.size());
    for (std::int64_t p = 0; p < out_.size(2); ++p) {
      const auto key = [&](std::size_t i) {
        const RowRun& run = rows_[i * out_.size(2) + p];
        return (run.first / kBand << 32) + run.count;
      };
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
      std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
      for (const std::size_t i : order)
        lists[regions_[i].image * out_.size(2) + p].push_back(bin(i, p, 0, 0, regions_[i].out));
    }
    std::vector<std::int64_t> row_offset(h_);
    for (std::int64_t y = 0; y < h_; ++y) row_offset[y] = y * w_;
    const auto& kernels = ps_roi_align_kernels().get<T>();
    const std::int64_t cells = h_ * w_;
    parallel_for(input_.size(0) * channels_, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) {
        const std::int64_t plane = i % channels_, j = plane % bins();
        const auto& list = lists[i / channels_ * out_.size(2) + j / out_.size(3)];
        const std::int64_t count = static_cast<std::int64_t>(list.size()), bytes = cells * sizeof(T);
        const T* data = input_.ptr<T>() + i * cells;
        if (bytes <= kFetched && count * 256 >= bytes) channel_block_kernels().get<T>().fetch(data, cells);
        kernels.narrow({data, row_offset.data(), 0, cells, 1, 0}, tables(j % out_.size(3)), list.data(), count, wide(),
                       out_.ptr<T>() + plane, 0);
      }
    });
  }

  // Strips of the map move down through a window of planes, a few rows at a time: it holds the rows that the bins which
  // end in the newest rows read. The window, 700 KB for 245 channels and bins of 10 rows, stays in L2.
  void run_windows() const {
    const std::int64_t core = kWindow - std::max<std::int64_t>(span_, 1) + 1, ring = extent_ + kStep;
    const std::int64_t strips = std::max<std::int64_t>((w_ + core - 1) / core, 1);
    const std::int64_t groups = std::max<std::int64_t>((h_ + kStep - 1) / kStep, 1);
    std::vector<std::int32_t> begin;
    const std::vector<PsNarrowBin> sorted = sort_into_groups(core, strips, groups, begin);
    std::vector<std::int64_t> row_offset(h_);
    for (std::int64_t y = 0; y < h_; ++y) row_offset[y] = y % ring * kWindow;
    // 16 more: a stride that is a multiple of the page would put all planes into the same sets of the cache.
    const std::int64_t plane_stride = ring * kWindow + 16;
    parallel_for(input_.size(0) * strips, 1, [&](std::int64_t first, std::int64_t last) {
      const Scratch<A> window(channels_ * plane_stride + kPsLanes);
      const auto& channels = channel_block_kernels().get<T>();
      const auto& kernels = ps_roi_align_kernels().get<T>();
      for (std::int64_t task = first; task < last; ++task) {
        const std::int64_t column = task % strips * core, width = std::min(kWindow, w_ - column);
        const T* image = input_.ptr<T>() + (task / strips * h_ * w_ + column) * channels_;
        std::int64_t filled = 0;
        for (std::int64_t g = 0; g < groups; ++g) {
          const std::int32_t *range = &begin[task * groups + g], count = range[1] - range[0];
          if (count == 0) continue;
          filled = std::max(filled, g * kStep - extent_ + 1);
          for (; filled < std::min(h_, (g + 1) * kStep); ++filled) {
            channels.fetch(image + filled * w_ * channels_, width * channels_);
            for (std::int64_t x = 0; x < width; x += kPsLanes)  // 16 cells stay in L1 while their channels are turned
              channels.pack(image + (filled * w_ + x) * channels_, channels_, std::min(kPsLanes, width - x), channels_,
                            window.data() + row_offset[filled] + x, plane_stride);
          }
          kernels.narrow_of_sums(
              {window.data(), row_offset.data(), column, plane_stride, out_.size(1), bins() * plane_stride}, tables(0),
              sorted.data() + range[0], count, wide(), out_.ptr<T>(), 1);
        }
      }
    });
  }

  // All bins by strip and by the group of rows in which they end; begin: where each group starts.
  std::vector<PsNarrowBin> sort_into_groups(std::int64_t core, std::int64_t strips, std::int64_t groups,
                                            std::vector<std::int32_t>& begin) const {
    const std::int64_t pooled_h = out_.size(2), pooled_w = out_.size(3);
    const auto each = [&](const auto& body) {
      for (std::int64_t p = 0; p < pooled_h; ++p)
        for (std::int64_t q = 0; q < pooled_w; ++q)
          for (std::size_t i = 0; i < regions_.size(); ++i) {
            const std::int64_t strip = regions_[i].image * strips + columns_[i * pooled_w + q].first / core;
            body(strip * groups + rows_[i * pooled_h + p].last / kStep, i, p, q);
          }
    };
    begin.assign(input_.size(0) * strips * groups + 2, 0);
    each([&](std::int64_t group, std::size_t, std::int64_t, std::int64_t) { ++begin[group + 2]; });
    for (std::size_t g = 1; g < begin.size(); ++g) begin[g] += begin[g - 1];
    std::vector<PsNarrowBin> sorted(regions_.size() * bins());
    each([&](std::int64_t group, std::size_t i, std::int64_t p, std::int64_t q) {
      const std::int64_t j = p * pooled_w + q;
      sorted[begin[group + 1]++] = bin(i, p, q, j, regions_[i].out + j * out_.size(1));
    });
    return sorted;
  }

  static constexpr std::int64_t kMaxRows = 24, kStep = 4, kWindow = 48;
  const TensorView &input_, &out_;
  const std::int64_t h_, w_, channels_;
  std::int64_t span_ = 0, extent_ = 0;  // of a bin, the most
  std::vector<char> narrow_;
  std::vector<Region> regions_;
  std::vector<RowRun> rows_;  // [region][p]
  std::vector<std::int32_t> row_;
  std::vector<A> row_weight_, column_weight_;
  std::vector<PsColumns> columns_;  // [region][q]
};

}  // namespace saccade
