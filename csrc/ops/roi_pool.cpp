#include "ops/roi_pool.h"

#include <algorithm>

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
  const auto bins_of = [&](const PoolBlock& block, std::size_t i) {
    return RoiBins{block.rows.data() + 2 * pooled_h * i, block.columns.data() + 2 * pooled_w * i, pooled_h, pooled_w,
                   w};
  };
  if (input.is_contiguous()) {
    const auto kernel = roi_pool_kernels().get<A>().forward;
    const auto unpack = channel_block_kernels().get<T>().unpack;
    // An argmax is moved like a float: bits are bits, as unpack copies them unchanged.
    static_assert(sizeof(std::int32_t) == sizeof(float));
    const auto unpack_argmax = channel_block_kernels().get<float>().unpack;
    const auto make_worker = [&] {
      return
          [&, value = Scratch<A>(bins * kRoiChannels), where = Scratch<float>(bins * kRoiChannels)](
              const MapBlock<const A>& map, const PoolBlock& block, std::size_t i, std::int64_t c, std::int64_t count) {
            kernel(map, bins_of(block, i), count, value.data(), reinterpret_cast<std::int32_t*>(where.data()),
                   kRoiChannels);
            const std::int64_t offset = (block.region.roi[i] * channels + c) * bins;
            unpack(value.data(), kRoiChannels, count, bins, out.ptr<T>() + offset, bins);
            unpack_argmax(where.data(), kRoiChannels, count, bins, argmax.ptr<float>() + offset, bins);
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

// A task owns a slice of channels of one image's gradient and takes the regions in order: no element has two writers.
// Halves are summed in a float32 copy of the slice.
template <class T, class A>
void backward_slice(const std::vector<PoolBlock>& blocks, std::int64_t image, std::int64_t c, std::int64_t count,
                    const TensorView& grad, const TensorView& argmax, const TensorView& grad_input) {
  const bool planar = grad_input.is_contiguous();
  const std::int64_t channels = grad.size(1), bins = grad.size(2) * grad.size(3);
  const std::int64_t cells = grad_input.size(2) * grad_input.size(3);
  T* target = grad_input.ptr<T>() + image * channels * cells + (planar ? c * cells : c);
  constexpr bool kInPlace = std::is_same_v<A, T>;
  const Scratch<A> copy(kInPlace ? 0 : cells * count);
  A* sums = copy.data();
  if constexpr (kInPlace) sums = target;
  const std::int64_t cell_stride = kInPlace ? channels : count;
  if (planar || !kInPlace) {
    std::fill_n(sums, cells * count, A{});
  } else {
    for (std::int64_t j = 0; j < cells; ++j) std::fill_n(sums + j * cell_stride, count, A{});
  }
  const auto& kernels = roi_pool_kernels().get<T>();
  for (const PoolBlock& block : blocks) {
    if (block.region.map != image) continue;
    for (const std::int64_t k : block.region.roi) {
      const std::int64_t offset = k * bins * channels + (planar ? c * bins : c);
      if (planar) {
        kernels.backward_planes(grad.ptr<T>() + offset, argmax.ptr<std::int32_t>() + offset, bins, count, sums, cells);
      } else {
        kernels.backward(grad.ptr<T>() + offset, argmax.ptr<std::int32_t>() + offset, channels, bins, count, sums,
                         cell_stride);
      }
    }
  }
  if constexpr (!kInPlace) {
    for (std::int64_t j = 0; j < (planar ? cells * count : 0); ++j) target[j] = from_float<T>(sums[j]);
    for (std::int64_t j = 0; j < (planar ? 0 : cells); ++j)
      for (std::int64_t i = 0; i < count; ++i) target[j * channels + i] = from_float<T>(sums[j * count + i]);
  }
}

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
  // Channels do not meet, so the slices may follow the number of threads: as wide as that allows, since narrow slices
  // of 256 channels share a quarter of the cache's sets.
  const std::int64_t channels = grad.size(1), tasks = std::max(1, omp_get_max_threads());
  const std::int64_t share = grad_input.is_contiguous() ? kRoiChannels : (channels + tasks - 1) / tasks;
  const std::int64_t slice = std::max<std::int64_t>((share + 15) / 16 * 16, 16),
                     slices = (channels + slice - 1) / slice;
  dispatch_floating(grad.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const auto blocks = plan<A>(grad_input, rois, spatial_scale, grad.size(2), grad.size(3));
    advise_huge_pages(grad_input.data, grad_input.numel() * sizeof(T));
    parallel_for_dynamic(grad_input.size(0) * slices, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t task = first; task < last; ++task) {
        const std::int64_t c = task % slices * slice;
        backward_slice<T, A>(blocks, task / slices, c, std::min(slice, channels - c), grad, argmax, grad_input);
      }
    });
  });
}

}  // namespace saccade
