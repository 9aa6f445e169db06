#include "ops/ps_roi_align.h"

#include <algorithm>

#include "common/dispatch.h"
#include "common/large_output.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/ps_roi_align.h"
#include "math/half.h"
#include "ops/checks.h"
#include "ops/ps_roi_bins.h"
#include "ops/roi_taps.h"

namespace saccade {

void check_ps_roi(const TensorView& input, const TensorView& rois, const PsRoiParams& params) {
  check_roi_arguments(params.op(), input, rois, params.spatial_scale, params.pooled_h, params.pooled_w);
  check_sampling_ratio(params.op(), params.sampling_ratio);
  require(input.size(1) % (params.pooled_h * params.pooled_w) == 0, params.op(), ": input must have a multiple of ",
          params.pooled_h, " * ", params.pooled_w, " channels, got ", input.size(1));
}

void check_ps_roi_backward(const TensorView& grad, const TensorView& rois, const PsRoiParams& params,
                           const TensorView& grad_input) {
  check_ps_roi(grad_input, rois, params);
  require_shape(
      params.op(), "grad", grad, "(K, C, pooled_h, pooled_w)",
      {rois.size(0), grad_input.size(1) / (params.pooled_h * params.pooled_w), params.pooled_h, params.pooled_w});
}

RoiSampling sampling_of(const PsRoiParams& params) { return {0.5, false, params.sampling_ratio, params.whole_cells}; }

namespace {

template <class A>
std::vector<RoiTapBlock<A>> plan(const TensorView& input, const TensorView& rois, const PsRoiParams& params) {
  const Rois<A> regions = read_rois<A>(params.op(), rois, input.size(0));
  return plan_regions(params.op(), regions, std::vector<std::int64_t>(regions.size(), 0),
                      {{input.size(2), input.size(3), params.spatial_scale}}, sampling_of(params), params.pooled_h,
                      params.pooled_w);
}

// Where a map's elements are, in either format.
struct Strides {
  std::int64_t image, channel, row, cell;
  explicit Strides(const TensorView& map)
      : image(map.size(1) * map.size(2) * map.size(3)),
        channel(map.is_contiguous() ? map.size(2) * map.size(3) : 1),
        row(map.is_contiguous() ? map.size(3) : map.size(3) * map.size(1)),
        cell(map.is_contiguous() ? 1 : map.size(1)) {}
};

// Regions with bins of any width. Planes: one plane at a time serves all regions, in spatial order, so that it is read
// from memory once and stays in L2. Channels innermost: region by region, all channels of a bin together.
template <class T, class A, class Covered>
void forward_wide(const std::vector<RoiTapBlock<A>>& blocks, const TensorView& input, const PsRoiParams& params,
                  const TensorView& out, const Covered& covered) {
  struct Region {
    const RoiTapBlock<A>* block;
    std::size_t i;
  };
  std::vector<Region> regions;
  std::size_t position = 0;
  for (const RoiTapBlock<A>& block : blocks)
    for (std::size_t i = 0; i < block.region.roi.size(); ++i)
      if (!covered(position++)) regions.push_back({&block, i});
  const auto kernel = ps_roi_align_kernels().get<T>().forward;
  const Strides at(input), to(out);
  const std::int64_t bins = params.pooled_h * params.pooled_w;
  const auto pool = [&](const Region& region, std::int64_t channel, const PsBin& bin, std::int64_t place) {
    kernel({input.ptr<T>() + region.block->region.map * at.image + channel * at.channel, at.row, at.cell, 0,
            input.size(2), 0},
           region.block->taps(region.i), bin, out.ptr<T>() + region.block->region.roi[region.i] * to.image + place,
           to.channel);
  };
  if (regions.empty()) return;
  if (input.is_contiguous()) {
    parallel_for_dynamic(input.size(1), 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t c = first; c < last; ++c)
        for (const Region& region : regions)
          pool(region, c, {c % bins / params.pooled_w, c % params.pooled_w, 1, 0}, c);
    });
  } else {
    parallel_for_dynamic(regions.size(), 4, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t r = first; r < last; ++r)
        for (std::int64_t j = 0; j < bins; ++j)
          pool(regions[r], j, {j / params.pooled_w, j % params.pooled_w, out.size(1), bins}, j * to.cell);
    });
  }
}

// A task owns a piece of one image's gradient: a plane, or with channels innermost a band of rows. It takes the regions
// in order, so no element has two writers. Halves are summed in float32.
template <class T, class A>
class Backward {
 public:
  Backward(const std::vector<RoiTapBlock<A>>& blocks, const TensorView& grad, const PsRoiParams& params,
           const TensorView& grad_input)
      : blocks_(blocks),
        grad_(grad),
        params_(params),
        map_(grad_input),
        at_(grad_input),
        from_(grad),
        planar_(grad_input.is_contiguous()) {}

  void run() const {
    constexpr std::int64_t kBandRows = 16;
    const std::int64_t per_image = planar_ ? map_.size(1) : (map_.size(2) + kBandRows - 1) / kBandRows;
    parallel_for_dynamic(map_.size(0) * per_image, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t task = first; task < last; ++task) {
        const std::int64_t piece = task % per_image;
        if (planar_) {
          run_piece(task / per_image, piece, 0, map_.size(2));
        } else {
          run_piece(task / per_image, 0, piece * kBandRows, std::min((piece + 1) * kBandRows, map_.size(2)));
        }
      }
    });
  }

 private:
  void run_piece(std::int64_t image, std::int64_t plane, std::int64_t first_row, std::int64_t end_row) const {
    T* target = map_.ptr<T>() + image * at_.image + plane * at_.channel + first_row * at_.row;
    const std::int64_t elements = (end_row - first_row) * at_.row;
    constexpr bool kInPlace = std::is_same_v<A, T>;
    const Scratch<A> copy(kInPlace ? 0 : elements);
    A* sums = copy.data();
    if constexpr (kInPlace) sums = target;
    std::fill_n(sums, elements, A{});
    for (const RoiTapBlock<A>& block : blocks_)
      if (block.region.map == image) add_regions(block, plane, {sums, at_.row, at_.cell, first_row, end_row, 0});
    if constexpr (!kInPlace)
      for (std::int64_t j = 0; j < elements; ++j) target[j] = from_float<T>(sums[j]);
  }

  void add_regions(const RoiTapBlock<A>& block, std::int64_t plane, const MapBlock<A>& map) const {
    const auto kernel = ps_roi_align_kernels().get<T>().backward;
    const std::int64_t bins = params_.pooled_h * params_.pooled_w;
    for (std::size_t i = 0; i < block.region.roi.size(); ++i) {
      const CellRect& rect = block.region.rect[i];
      if (rect.end_row <= map.first_row || rect.first_row >= map.end_row) continue;
      const T* grad = grad_.ptr<T>() + block.region.roi[i] * from_.image;
      const RoiTaps<A> roi = block.taps(i);
      if (planar_) {
        kernel(map, roi, {plane % bins / params_.pooled_w, plane % params_.pooled_w, 1, 0}, grad + plane, 0);
        continue;
      }
      for (std::int64_t j = 0; j < bins; ++j) {
        MapBlock<A> at_bin = map;
        at_bin.data += j;
        kernel(at_bin, roi, {j / params_.pooled_w, j % params_.pooled_w, grad_.size(1), bins}, grad + j * from_.cell,
               from_.channel);
      }
    }
  }

  const std::vector<RoiTapBlock<A>>& blocks_;
  const TensorView& grad_;
  const PsRoiParams& params_;
  const TensorView& map_;
  const Strides at_, from_;
  const bool planar_;
};

}  // namespace

void ps_roi(const TensorView& input, const TensorView& rois, const PsRoiParams& params, const TensorView& out) {
  check_ps_roi(input, rois, params);
  dispatch_floating(input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto blocks = plan<decltype(to_float(T{}))>(input, rois, params);
    const PsBins<T, decltype(to_float(T{}))> narrow(blocks, input, out);
    narrow.run();
    forward_wide<T>(blocks, input, params, out, [&](std::size_t i) { return narrow.covers(i); });
  });
}

void ps_roi_backward(const TensorView& grad, const TensorView& rois, const PsRoiParams& params,
                     const TensorView& grad_input) {
  check_ps_roi_backward(grad, rois, params, grad_input);
  dispatch_floating(grad.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const auto blocks = plan<A>(grad_input, rois, params);
    advise_huge_pages(grad_input.data, grad_input.numel() * sizeof(T));
    Backward<T, A>(blocks, grad, params, grad_input).run();
  });
}

}  // namespace saccade
