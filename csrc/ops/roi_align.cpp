#include "ops/roi_align.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "common/dispatch.h"
#include "common/large_output.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/channel_block.h"
#include "kernels/roi_align.h"
#include "math/half.h"
#include "ops/checks.h"
#include "ops/roi_planar.h"
#include "ops/roi_taps.h"

namespace saccade {

void check_roi_align(const char* op, const std::vector<TensorView>& features, const TensorView& rois,
                     const std::vector<double>& scales, const RoiAlignParams& params) {
  require(!features.empty(), op, ": features must hold at least one map, got 0");
  require(features.size() == scales.size(), op, ": scales must hold one number per map, got ", scales.size(), " for ",
          features.size());
  const TensorView& first = features[0];
  for (std::size_t l = 0; l < features.size(); ++l) {
    check_roi_arguments(op, features[l], rois, scales[l], params.pooled_h, params.pooled_w);
    require_same_dtype(op, "features[0]", first, "the other features", features[l]);
    require(features[l].size(0) == first.size(0) && features[l].size(1) == first.size(1), op,
            ": features must have the same batch size and channels, got ", shape_string(first), " and ",
            shape_string(features[l]));
  }
  check_sampling_ratio(op, params.sampling_ratio);
  require(std::isfinite(params.canonical_scale) && params.canonical_scale > 0, op,
          ": canonical_scale must be positive, got ", params.canonical_scale);
}

void check_roi_align_backward(const char* op, const TensorView& grad, const TensorView& rois,
                              const std::vector<double>& scales, const RoiAlignParams& params,
                              const std::vector<TensorView>& grad_features) {
  check_roi_align(op, grad_features, rois, scales, params);
  require_same_dtype(op, "grad", grad, "input", grad_features[0]);
  require_shape(op, "grad", grad, "(K, C, pooled_h, pooled_w)",
                {rois.size(0), grad_features[0].size(1), params.pooled_h, params.pooled_w});
}

std::vector<std::vector<std::int64_t>> level_shapes(const std::vector<std::int64_t>& shape, std::size_t levels) {
  require(shape.size() == 2 * levels + 2,
          "multiscale_roi_align: shape must hold n, c and a height and width per level");
  std::vector<std::vector<std::int64_t>> shapes;
  for (std::size_t l = 2; l < shape.size(); l += 2) shapes.push_back({shape[0], shape[1], shape[l], shape[l + 1]});
  return shapes;
}

RoiSampling sampling_of(const RoiAlignParams& params) {
  return {params.aligned ? 0.5 : 0.0, !params.aligned, params.sampling_ratio};
}

namespace {

// The level of every region; -1 where its area has no square root.
template <class A>
std::vector<std::int64_t> assign_levels(const Rois<A>& rois, const std::vector<double>& scales,
                                        const RoiAlignParams& params) {
  const auto rule =
      roi_level_rule<A>(scales.front(), scales.back(), scales.size(), params.canonical_scale, params.canonical_level);
  std::vector<std::int64_t> level(rois.size());
  for (std::int64_t k = 0; k < rois.size(); ++k)
    level[k] = roi_level(rois.x1[k], rois.y1[k], rois.x2[k], rois.y2[k], rule);
  return level;
}

template <class A>
std::vector<RoiTapBlock<A>> plan(const char* op, const std::vector<TensorView>& maps, const TensorView& rois,
                                 const std::vector<double>& scales, const RoiAlignParams& params) {
  const Rois<A> regions = read_rois<A>(op, rois, maps[0].size(0));
  std::vector<RoiLevel> levels;
  for (std::size_t l = 0; l < maps.size(); ++l) levels.push_back({maps[l].size(2), maps[l].size(3), scales[l]});
  return plan_regions(op, regions, assign_levels(regions, scales, params), levels, sampling_of(params), params.pooled_h,
                      params.pooled_w);
}

// Channels of a channels-last map that are handled together: whole cells where possible, as rows of a region are then
// one stretch of memory. Slices of 64 took 2.5 times as long: cells 1 KB apart leave them a quarter of the cache's
// sets.
constexpr std::int64_t kInnerChannels = 256;

// Channels innermost already: regions read the map and write the output in place.
template <class T, class A>
void forward_channels_last(const std::vector<RoiTapBlock<A>>& blocks, const std::vector<TensorView>& maps,
                           const RoiAlignParams& params, const TensorView& out) {
  const auto kernel = roi_align_kernels().get<T>().forward;
  const std::int64_t channels = out.size(1), bins = params.pooled_h * params.pooled_w, levels = maps.size();
  const std::int64_t columns = max_columns(blocks);
  const bool around = past_caches(out.data, out.numel() * sizeof(T), std::gcd(channels, kInnerChannels) * sizeof(T));
  parallel_for_dynamic(blocks.size(), 1, [&](std::int64_t first, std::int64_t last) {
    Scratch<A> work(columns * std::min(kInnerChannels, channels));
    for (std::int64_t b = first; b < last; ++b) {
      const RoiTapBlock<A>& block = blocks[b];
      const TensorView& map = maps[block.region.map % levels];
      const T* image = map.ptr<T>() + block.region.map / levels * channels * map.size(2) * map.size(3);
      for (std::int64_t c = 0; c < channels; c += kInnerChannels)
        for (std::size_t i = 0; i < block.region.roi.size(); ++i)
          kernel({image + c, map.size(3) * channels, channels, 0, map.size(2), 0}, block.taps(i), params.pooled_h,
                 params.pooled_w, std::min(kInnerChannels, channels - c),
                 out.ptr<T>() + block.region.roi[i] * bins * channels + c, channels, work.data(), around);
    }
  });
}

// Planes: regions read slices that were turned channels-last; the output of one is turned back while it is in cache.
template <class T, class A>
void forward_planar(const std::vector<RoiTapBlock<A>>& blocks, const std::vector<TensorView>& maps,
                    const RoiAlignParams& params, const TensorView& out) {
  const std::int64_t columns = max_columns(blocks), area = params.pooled_h * params.pooled_w, channels = out.size(1);
  const auto kernel = roi_align_kernels().get<A>().forward;
  const auto make_worker = [&] {
    return [&, work = Scratch<A>(columns * kRoiChannels), bins = Scratch<A>(area * kRoiChannels),
            writer = PlaneWriter<T>(out, channels, area)](const MapBlock<const A>& map, const RoiTapBlock<A>& block,
                                                          std::size_t i, std::int64_t c, std::int64_t count) {
      kernel(map, block.taps(i), params.pooled_h, params.pooled_w, count, bins.data(), kRoiChannels, work.data(),
             false);
      writer.write(bins.data(), block.region.roi[i], c, count);
    };
  };
  for_planar_regions<T, A>(
      blocks, maps, [](const RoiTapBlock<A>& block) -> const RegionBlock& { return block.region; }, make_worker);
}

// A task of the backward pass: a band of rows of one map, for a slice of channels. It owns that part of the gradient,
// and takes the regions in order: no element has two writers.
struct Band {
  std::size_t begin, end;  // the blocks on its map
  std::int64_t map, first_row, end_row, channel;
};

// `rows` is a compromise: a row of bins that two bands share is spread over its columns by both.
template <class A>
std::vector<Band> bands_of(const std::vector<RoiTapBlock<A>>& blocks, const std::vector<TensorView>& maps,
                           std::int64_t slice) {
  constexpr std::int64_t kRows = 32;
  std::vector<Band> bands;
  std::size_t begin = 0;
  const std::int64_t levels = maps.size(), channels = maps[0].size(1);
  for (std::int64_t map = 0; map < maps[0].size(0) * levels; ++map) {
    std::size_t end = begin;
    while (end < blocks.size() && blocks[end].region.map == map) ++end;
    const std::int64_t h = maps[map % levels].size(2);
    for (std::int64_t y = 0; y < h; y += kRows)
      for (std::int64_t c = 0; c < channels; c += slice)
        bands.push_back({begin, end, map, y, std::min(y + kRows, h), c});
    begin = end;
  }
  return bands;
}

template <class T, class A>
class Backward {
 public:
  Backward(const std::vector<RoiTapBlock<A>>& blocks, const TensorView& grad, const RoiAlignParams& params,
           const std::vector<TensorView>& maps)
      : blocks_(blocks),
        grad_(grad),
        params_(params),
        maps_(maps),
        columns_(max_columns(blocks)),
        channels_(grad.size(1)),
        area_(params.pooled_h * params.pooled_w),
        planar_(std::all_of(maps.begin(), maps.end(), [](const TensorView& map) { return map.is_contiguous(); })),
        slice_(std::min(planar_ ? kRoiChannels : kInnerChannels, channels_)) {}

  void run() const {
    const std::vector<Band> bands = bands_of(blocks_, maps_, slice_);
    parallel_for_dynamic(bands.size(), 1, [&](std::int64_t first, std::int64_t last) {
      Scratch<A> work(columns_ * slice_), tile(planar_ ? area_ * slice_ : 0);
      for (std::int64_t b = first; b < last; ++b) run_band(bands[b], work.data(), tile.data());
    });
  }

 private:
  void run_band(const Band& band, A* work, A* tile) const {
    const TensorView& map = maps_[band.map % maps_.size()];
    const std::int64_t h = map.size(2), w = map.size(3), rows = band.end_row - band.first_row;
    const std::int64_t image = band.map / static_cast<std::int64_t>(maps_.size());
    const std::int64_t width = slice_, count = std::min(slice_, channels_ - band.channel);
    T* first = map.ptr<T>() + image * channels_ * h * w +
               (planar_ ? (band.channel * h + band.first_row) * w : band.first_row * w * channels_ + band.channel);
    if constexpr (std::is_same_v<A, T>) {
      if (!planar_) {
        for (std::int64_t j = 0; j < rows * w; ++j) std::memset(first + j * channels_, 0, count * sizeof(T));
        return add_regions(band, {first, w * channels_, channels_, band.first_row, band.end_row, 0}, count, work, tile);
      }
    }
    Scratch<A> sums(rows * w * width);
    std::memset(sums.data(), 0, sums.size() * sizeof(A));
    add_regions(band, {sums.data(), w * width, width, band.first_row, band.end_row, 0}, count, work, tile);
    if (planar_) {
      channel_block_kernels().get<T>().unpack(sums.data(), width, count, rows * w, first, h * w);
    } else {
      for (std::int64_t j = 0; j < rows * w; ++j)
        for (std::int64_t c = 0; c < count; ++c) first[j * channels_ + c] = from_float<T>(sums[j * width + c]);
    }
  }

  // The bins [first, end) that have a cell on the band.
  std::pair<std::int64_t, std::int64_t> bins_on(const Band& band, const RoiTaps<A>& roi) const {
    std::int64_t first = params_.pooled_h, end = 0;
    for (std::int64_t p = 0; p < params_.pooled_h; ++p) {
      for (std::int32_t i = roi.y.begin[p]; i < roi.y.begin[p + 1]; ++i) {
        if (roi.y.cell[i] < band.first_row || roi.y.cell[i] >= band.end_row) continue;
        first = std::min(first, p), end = p + 1;
      }
    }
    return {std::min(first, end) * params_.pooled_w, end * params_.pooled_w};
  }

  void add_regions(const Band& band, const MapBlock<A>& map, std::int64_t count, A* work, A* tile) const {
    for (std::size_t b = band.begin; b < band.end; ++b) {
      for (std::size_t i = 0; i < blocks_[b].region.roi.size(); ++i) {
        const CellRect& rect = blocks_[b].region.rect[i];
        if (rect.end_row <= band.first_row || rect.first_row >= band.end_row) continue;
        const RoiTaps<A> roi = blocks_[b].taps(i);
        const T* grad = grad_.ptr<T>() + blocks_[b].region.roi[i] * channels_ * area_;
        if (planar_) {
          const auto [first, end] = bins_on(band, roi);
          const auto& kernels = channel_block_kernels().get<T>();
          // In a row, where most lines are needed, and then in pack's order, which touches every third line first.
          if (2 * (end - first) >= area_) kernels.fetch(grad + band.channel * area_, count * area_);
          kernels.pack(grad + band.channel * area_ + first, area_, count, end - first, tile + first * slice_, slice_);
          roi_align_kernels().get<A>().backward(map, roi, params_.pooled_h, params_.pooled_w, count, tile, slice_,
                                                work);
        } else {
          roi_align_kernels().get<T>().backward(map, roi, params_.pooled_h, params_.pooled_w, count,
                                                grad + band.channel, channels_, work);
        }
      }
    }
  }

  const std::vector<RoiTapBlock<A>>& blocks_;
  const TensorView& grad_;
  const RoiAlignParams& params_;
  const std::vector<TensorView>& maps_;
  const std::int64_t columns_, channels_, area_;
  const bool planar_;
  const std::int64_t slice_;
};

}  // namespace

void roi_align(const char* op, const std::vector<TensorView>& features, const TensorView& rois,
               const std::vector<double>& scales, const RoiAlignParams& params, const TensorView& out) {
  check_roi_align(op, features, rois, scales, params);
  dispatch_floating(features[0].dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const auto blocks = plan<A>(op, features, rois, scales, params);
    if (out.numel() == 0) return;
    advise_huge_pages(out.data, out.numel() * sizeof(T));
    if (features[0].is_contiguous()) {
      forward_planar<T>(blocks, features, params, out);
    } else {
      forward_channels_last<T>(blocks, features, params, out);
    }
  });
}

void roi_align_backward(const char* op, const TensorView& grad, const TensorView& rois,
                        const std::vector<double>& scales, const RoiAlignParams& params,
                        const std::vector<TensorView>& grad_features) {
  check_roi_align_backward(op, grad, rois, scales, params, grad_features);
  dispatch_floating(grad.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const auto blocks = plan<A>(op, grad_features, rois, scales, params);
    for (const TensorView& map : grad_features) advise_huge_pages(map.data, map.numel() * sizeof(T));
    if (grad_features[0].size(1) > 0) Backward<T, A>(blocks, grad, params, grad_features).run();
  });
}

}  // namespace saccade
