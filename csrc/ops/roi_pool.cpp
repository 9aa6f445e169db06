#include "ops/roi_pool.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/dispatch.h"
#include "kernels/roi_pool.h"
#include "math/half.h"
#include "math/roi.h"
#include "ops/checks.h"
#include "ops/roi_planar.h"

namespace saccade {

void check_roi_pool(const TensorView& input, const TensorView& rois, double spatial_scale, std::int64_t pooled_h,
                    std::int64_t pooled_w) {
  check_roi_arguments("roi_pool", input, rois, spatial_scale, pooled_h, pooled_w);
  require(input.size(2) * input.size(3) <= std::int64_t{0x7fffffff},
          "roi_pool: input must have fewer than 2**31 cells, got ", shape_string(input));
}

void check_roi_pool_backward(const TensorView& grad, const TensorView& rois, const TensorView& argmax,
                             const TensorView& grad_input) {
  require_shape("roi_pool", "grad", grad, "(K, C, pooled_h, pooled_w)", {rois.size(0), grad_input.size(1), -1, -1});
  require_shape("roi_pool", "argmax", argmax, "(K, C, pooled_h, pooled_w)",
                {rois.size(0), grad_input.size(1), grad.size(2), grad.size(3)});
  require_dtype("roi_pool", "argmax", argmax, DType::kInt32);
}

namespace {

// Regions with the cells of their bins: rows of all, then columns of all.
struct PoolBlock {
  RegionBlock region;
  std::vector<std::int32_t> rows, columns;
};

void add_bins(std::vector<std::int32_t>& to, const CellRange& range) {
  to.push_back(static_cast<std::int32_t>(range.first));
  to.push_back(static_cast<std::int32_t>(range.end));
}

template <class A>
std::vector<PoolBlock> plan(const TensorView& input, const TensorView& rois, double spatial_scale,
                            std::int64_t pooled_h, std::int64_t pooled_w) {
  const std::int64_t h = input.size(2), w = input.size(3);
  const Rois<A> regions = read_rois<A>("roi_pool", rois, input.size(0));
  const RoiOrder order = spatial_order(regions, std::vector<std::int64_t>(regions.size(), 0), {{h, w, spatial_scale}});
  std::vector<PoolBlock> blocks(order.runs.size());
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    RegionBlock& region = blocks[b].region;
    region.map = order.runs[b].map;
    for (std::int64_t i = order.runs[b].begin; i < order.runs[b].end; ++i) {
      const std::int64_t k = order.index[i];
      CellAxis<A> y = cell_axis(regions.y1[k], regions.y2[k], A(spatial_scale), pooled_h, 1);
      CellAxis<A> x = cell_axis(regions.x1[k], regions.x2[k], A(spatial_scale), pooled_w, 1);
      y.finite = x.finite = y.finite && x.finite;
      for (std::int64_t p = 0; p < pooled_h; ++p) add_bins(blocks[b].rows, cell_range(y, p, h));
      for (std::int64_t q = 0; q < pooled_w; ++q) add_bins(blocks[b].columns, cell_range(x, q, w));
      const std::int32_t *row = &blocks[b].rows.end()[-2 * pooled_h], *column = &blocks[b].columns.end()[-2 * pooled_w];
      region.roi.push_back(k);
      region.rect.push_back({row[0], row[2 * pooled_h - 1], column[0], column[2 * pooled_w - 1]});
      region.cells += (row[2 * pooled_h - 1] - row[0]) * std::int64_t{column[2 * pooled_w - 1] - column[0]};
    }
  }
  return blocks;
}

template <class T, class A>
void forward(const std::vector<PoolBlock>& blocks, const TensorView& input, const TensorView& out,
             const TensorView& argmax) {
  const std::int64_t channels = out.size(1), pooled_h = out.size(2), pooled_w = out.size(3), bins = pooled_h * pooled_w;
  const std::int64_t h = input.size(2), w = input.size(3);
  // With eight registers of channels in place of four, 36.8 -> 29.2 ms for 100 MB on one thread.
  const auto around = [&](const TensorView& to) {
    const std::size_t element = dtype_size(to.dtype);
    return past_caches(to.data, to.numel() * element, channels * element);
  };
  const bool streamed = !input.is_contiguous() && around(out) && around(argmax);
  const auto bins_of = [&](const PoolBlock& block, std::size_t i) {
    return RoiBins{
        block.rows.data() + 2 * pooled_h * i, block.columns.data() + 2 * pooled_w * i, pooled_h, pooled_w, w, streamed};
  };
  if (input.is_contiguous()) {
    const auto kernel = roi_pool_kernels().get<A>().forward;
    const auto make_worker = [&] {
      // An argmax is moved like a float: bits are bits.
      static_assert(sizeof(std::int32_t) == sizeof(float));
      return
          [&, value = Scratch<A>(bins * kRoiChannels), where = Scratch<float>(bins * kRoiChannels),
           values = PlaneWriter<T>(out, channels, bins), places = PlaneWriter<float>(argmax, channels, bins)](
              const MapBlock<const A>& map, const PoolBlock& block, std::size_t i, std::int64_t c, std::int64_t count) {
            kernel(map, bins_of(block, i), count, value.data(), reinterpret_cast<std::int32_t*>(where.data()),
                   kRoiChannels);
            values.write(value.data(), block.region.roi[i], c, count);
            places.write(where.data(), block.region.roi[i], c, count);
          };
    };
    for_planar_regions<T, A>(
        blocks, {input}, [](const PoolBlock& block) -> const RegionBlock& { return block.region; }, make_worker);
    return;
  }
  const auto kernel = roi_pool_kernels().get<T>().forward;
  parallel_for_dynamic(blocks.size(), 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t b = first; b < last; ++b) {
      const T* image = input.ptr<T>() + blocks[b].region.map * channels * h * w;
      for (std::size_t i = 0; i < blocks[b].region.roi.size(); ++i) {
        const std::int64_t offset = blocks[b].region.roi[i] * bins * channels;
        kernel({image, w * channels, channels, 0, h, 0}, bins_of(blocks[b], i), channels, out.ptr<T>() + offset,
               argmax.ptr<std::int32_t>() + offset, channels);
      }
    }
  });
}

// Regions in spatial order; a task owns some channels of one image's gradient and takes the regions in that order: no
// element has two writers, and none depends on who does what. Halves are summed in float32 copies.
template <class T, class A>
class Backward {
 public:
  Backward(const std::vector<PoolBlock>& blocks, const TensorView& grad, const TensorView& argmax,
           const TensorView& grad_input)
      : grad_(grad),
        argmax_(argmax),
        map_(grad_input),
        channels_(grad.size(1)),
        bins_(grad.size(2) * grad.size(3)),
        cells_(grad_input.size(2) * grad_input.size(3)) {
    for (std::int64_t image = 0; image < map_.size(0); ++image) {
      begin_.push_back(order_.size());
      for (const PoolBlock& block : blocks)
        for (std::size_t i = 0; block.region.map == image && i < block.region.roi.size(); ++i)
          order_.push_back(block.region.roi[i]);
    }
    begin_.push_back(order_.size());
  }

  // Two planes are cleared, take all regions and stay in L2 all the while; 64 at once, with nothing fetched ahead, took
  // 34 ms in place of 21, one is 1 ms slower than two as its pieces of grad are shorter. Tasks of 16 planes, for
  // threads that write to one huge page wait for each other when it is new.
  void run_planar() const {
    constexpr std::int64_t kPlanes = 16;
    const std::int64_t tasks = (channels_ + kPlanes - 1) / kPlanes;
    parallel_for(map_.size(0) * tasks, 1, [&](std::int64_t first, std::int64_t last) {
      const Scratch<A> copy(kInPlace ? 0 : 2 * cells_);
      for (std::int64_t task = first; task < last; ++task)
        for (std::int64_t c = task % tasks * kPlanes; c < std::min(channels_, (task % tasks + 1) * kPlanes); c += 2)
          run_planes(task / tasks, c, std::min<std::int64_t>(2, channels_ - c), copy.data());
    });
  }

  // Channels innermost: a band of rows for each thread, with all channels, so that cells are whole.
  // A bin that lies on two bands is taken by both, each adding what falls on its own.
  void run_channels_last(const std::vector<PoolBlock>& blocks) {
    sort_bins(blocks);
    const std::int64_t h = map_.size(2), threads = std::max(1, omp_get_max_threads());
    // Halves are summed in a copy of the band.
    const std::int64_t rows = kInPlace ? (h + threads - 1) / threads : std::min<std::int64_t>(h, 32);
    const std::int64_t bands = (h + rows - 1) / rows;
    parallel_for(map_.size(0) * bands, 1, [&](std::int64_t first, std::int64_t last) {
      const Scratch<A> copy(kInPlace ? 0 : rows * map_.size(3) * channels_);
      for (std::int64_t task = first; task < last; ++task) {
        const std::int64_t y = task % bands * rows;
        run_band(task / bands, y, std::min(y + rows, h), copy.data());
      }
    });
  }

 private:
  struct Bin {
    std::int64_t index;
    std::int32_t first_row, end_row;
  };
  static constexpr bool kInPlace = std::is_same_v<A, T>;

  // Bins by the tile of the map on which they start: one after the other, regions of 26 x 26 cells on 256 channels add
  // to 700 KB each, and 1,000 of them move the map through L2 ten times. With tiles of 64 KB the cells that the bins of
  // one reach into (13 x 13 of 4.6 x 4.6 bins) stay in L2 beside the gradients that pass: 400 KB took 13 % longer.
  void sort_bins(const std::vector<PoolBlock>& blocks) {
    constexpr std::size_t kTileBytes = 64 << 10;
    const auto edge = std::max<std::int64_t>(
        static_cast<std::int64_t>(std::sqrt(kTileBytes / (static_cast<std::size_t>(channels_) * sizeof(A)))), 4);
    const std::int64_t across = map_.size(3) / edge + 1, tiles = (map_.size(2) / edge + 1) * across;
    std::vector<std::size_t> next(static_cast<std::size_t>(map_.size(0) * tiles + 1));
    const auto each_bin = [&](const auto& body) {
      for (const PoolBlock& block : blocks)
        for (std::size_t i = 0; i < block.region.roi.size(); ++i)
          for (std::int64_t b = 0; b < bins_; ++b) {
            const std::int32_t* y = block.rows.data() + 2 * (i * grad_.size(2) + b / grad_.size(3));
            const std::int32_t* x = block.columns.data() + 2 * (i * grad_.size(3) + b % grad_.size(3));
            if (y[0] < y[1] && x[0] < x[1])
              body(block.region.map * tiles + y[0] / edge * across + x[0] / edge,
                   Bin{block.region.roi[i] * bins_ + b, y[0], y[1]});
          }
    };
    each_bin([&](std::int64_t tile, const Bin&) { ++next[tile + 1]; });
    std::partial_sum(next.begin(), next.end(), next.begin());
    for (std::int64_t image = 0; image <= map_.size(0); ++image) first_bin_.push_back(next[image * tiles]);
    bin_order_.resize(next.back());
    each_bin([&](std::int64_t tile, const Bin& bin) { bin_order_[next[tile]++] = bin; });
  }

  RoiPoolGradient<T> gradient(std::int64_t at) const { return {grad_.ptr<T>() + at, argmax_.ptr<std::int32_t>() + at}; }

  void run_planes(std::int64_t image, std::int64_t c, std::int64_t count, A* copy) const {
    T* target = map_.ptr<T>() + (image * channels_ + c) * cells_;
    A* sums = copy;
    if constexpr (kInPlace) sums = target;
    std::fill_n(sums, count * cells_, A{});
    const auto kernel = roi_pool_kernels().get<T>().backward_planes;
    // The distance covers the latency of memory: a region has 49 additions.
    constexpr std::size_t kAhead = 6;
    const std::size_t end = begin_[image + 1];
    const auto planes = [&](std::size_t i) { return gradient((order_[i] * channels_ + c) * bins_); };
    for (std::size_t i = begin_[image]; i < end; ++i)
      kernel(planes(i), planes(std::min(i + kAhead, end - 1)), bins_, count, sums, cells_);
    if constexpr (!kInPlace)
      for (std::int64_t j = 0; j < count * cells_; ++j) target[j] = from_float<T>(sums[j]);
  }

  void run_band(std::int64_t image, std::int64_t first_row, std::int64_t end_row, A* copy) const {
    const std::int64_t w = map_.size(3), first_cell = first_row * w, cells = (end_row - first_row) * w;
    T* target = map_.ptr<T>() + (image * cells_ + first_cell) * channels_;
    A* sums = copy;
    if constexpr (kInPlace) sums = target;
    // Rows are cleared when the first bin reaches them, to be found in cache.
    std::int64_t cleared = first_row;
    const auto clear_to = [&](std::int64_t row) {
      if (row <= cleared) return;
      std::fill_n(sums + (cleared - first_row) * w * channels_, (row - cleared) * w * channels_, A{});
      cleared = row;
    };
    const auto kernel = roi_pool_kernels().get<T>().backward;
    // A bin has an addition for each channel, which cover the latency of memory from one to the next.
    constexpr std::size_t kAhead = 3;
    const std::size_t end = first_bin_[image + 1];
    const auto gradient_of = [&](std::size_t i) { return gradient(bin_order_[i].index * channels_); };
    for (std::size_t i = first_bin_[image]; i < end; ++i) {
      const Bin& bin = bin_order_[i];
      if (bin.end_row <= first_row || bin.first_row >= end_row) continue;
      clear_to(std::min<std::int64_t>(bin.end_row, end_row));
      kernel(gradient_of(i), gradient_of(std::min(i + kAhead, end - 1)), channels_, sums, first_cell, cells);
    }
    clear_to(end_row);
    if constexpr (!kInPlace)
      for (std::int64_t j = 0; j < cells * channels_; ++j) target[j] = from_float<T>(sums[j]);
  }

  const TensorView &grad_, &argmax_, &map_;
  const std::int64_t channels_, bins_, cells_;
  std::vector<std::int64_t> order_;  // regions
  std::vector<std::size_t> begin_;   // of an image in `order_`
  std::vector<Bin> bin_order_;
  std::vector<std::size_t> first_bin_;  // of an image in `bin_order_`
};

}  // namespace

void roi_pool(const TensorView& input, const TensorView& rois, double spatial_scale, const TensorView& out,
              const TensorView& argmax) {
  check_roi_pool(input, rois, spatial_scale, out.size(2), out.size(3));
  dispatch_floating(input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const auto blocks = plan<A>(input, rois, spatial_scale, out.size(2), out.size(3));
    if (out.numel() == 0) return;
    advise_huge_pages(out.data, out.numel() * sizeof(T));
    advise_huge_pages(argmax.data, argmax.numel() * sizeof(std::int32_t));
    forward<T, A>(blocks, input, out, argmax);
  });
}

void roi_pool_backward(const TensorView& grad, const TensorView& rois, const TensorView& argmax, double spatial_scale,
                       const TensorView& grad_input) {
  check_roi_pool(grad_input, rois, spatial_scale, grad.size(2), grad.size(3));
  check_roi_pool_backward(grad, rois, argmax, grad_input);
  dispatch_floating(grad.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const auto blocks = plan<A>(grad_input, rois, spatial_scale, grad.size(2), grad.size(3));
    advise_huge_pages(grad_input.data, grad_input.numel() * sizeof(T));
    Backward<T, A> backward(blocks, grad, argmax, grad_input);
    if (grad_input.is_contiguous()) {
      backward.run_planar();
    } else {
      backward.run_channels_last(blocks);
    }
  });
}

}  // namespace saccade
