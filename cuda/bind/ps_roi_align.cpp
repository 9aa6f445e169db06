#include "ops/ps_roi_align.h"

#include "bind_torch/memory_format.h"
#include "common/dispatch.h"
#include "cuda/bind/roi.h"
#include "cuda/kernels/ps_roi_align.h"
#include "math/half.h"

namespace saccade::cuda {
namespace {

using bind_torch::format_of, bind_torch::in_format, bind_torch::MemoryFormat;

RoiGeometry geometry_of(const TensorView& map, const PsRoiParams& params) {
  return one_map(params.whole_cells ? BinKind::kMeans : BinKind::kSamples, sampling_of(params), map,
                 params.spatial_scale, params.pooled_h, params.pooled_w);
}

Tensor forward(const Tensor& input, const Tensor& rois, const PsRoiParams& params) {
  check_ps_roi(view(input), view(rois), params);
  const DeviceOf device(input);
  const MemoryFormat format = format_of(input);
  const Tensor ordered = in_format(input, format);
  const std::int64_t bins = params.pooled_h * params.pooled_w, channels = input.size(1) / bins;
  Tensor out = empty({rois.size(0), channels, params.pooled_h, params.pooled_w}, input, {}, format);
  const RoiGeometry geometry = geometry_of(view(input), params);
  dispatch_floating(view(input).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const RegionsOf<A> regions(rois, geometry, device.stream());
    regions.for_taps([&](std::int64_t first, std::int64_t count, const std::int32_t* begins, const Tap<A>* taps) {
      launch_ps_roi<T, A>(view(ordered).template ptr<T>(), geometry, channels, format == MemoryFormat::ChannelsLast,
                          regions.regions() + first, count, begins, taps,
                          view(out).template ptr<T>() + first * channels * bins, device.stream());
    });
  });
  return out;
}

Tensor backward(const Tensor& grad, const Tensor& rois, const std::vector<std::int64_t>& input_shape,
                const PsRoiParams& params, bool channels_last) {
  const MemoryFormat format = channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  Tensor grad_input = empty(input_shape, grad, {}, format);
  check_ps_roi_backward(view(grad), view(rois), params, view(grad_input));
  const DeviceOf device(grad);
  const Tensor ordered = in_format(grad, format);
  const RoiGeometry geometry = geometry_of(view(grad_input), params);
  dispatch_floating(view(grad).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const RegionsOf<A> regions(rois, geometry, device.stream());
    regions.with_order([&](const std::int32_t* order, const std::int32_t* map_begin) {
      launch_ps_roi_backward<T, A>(view(ordered).template ptr<T>(), geometry, grad.size(1), channels_last,
                                   regions.regions(), order, map_begin, view(grad_input).template ptr<T>(),
                                   device.stream());
    });
  });
  return grad_input;
}

Tensor ps_roi_align(const Tensor& input, const Tensor& rois, double spatial_scale, std::int64_t pooled_height,
                    std::int64_t pooled_width, std::int64_t sampling_ratio) {
  return forward(input, rois, {pooled_height, pooled_width, spatial_scale, false, sampling_ratio});
}

Tensor ps_roi_align_backward(const Tensor& grad, const Tensor& rois, std::vector<std::int64_t> input_shape,
                             double spatial_scale, std::int64_t pooled_height, std::int64_t pooled_width,
                             std::int64_t sampling_ratio, bool channels_last) {
  return backward(grad, rois, input_shape, {pooled_height, pooled_width, spatial_scale, false, sampling_ratio},
                  channels_last);
}

Tensor ps_roi_pool(const Tensor& input, const Tensor& rois, double spatial_scale, std::int64_t pooled_height,
                   std::int64_t pooled_width) {
  return forward(input, rois, {pooled_height, pooled_width, spatial_scale, true});
}

Tensor ps_roi_pool_backward(const Tensor& grad, const Tensor& rois, std::vector<std::int64_t> input_shape,
                            double spatial_scale, std::int64_t pooled_height, std::int64_t pooled_width,
                            bool channels_last) {
  return backward(grad, rois, input_shape, {pooled_height, pooled_width, spatial_scale, true}, channels_last);
}

}  // namespace

SACCADE_TORCH_CUDA(m) {
  m.impl("ps_roi_align", SACCADE_BOX(ps_roi_align));
  m.impl("_ps_roi_align_backward", SACCADE_BOX(ps_roi_align_backward));
  m.impl("ps_roi_pool", SACCADE_BOX(ps_roi_pool));
  m.impl("_ps_roi_pool_backward", SACCADE_BOX(ps_roi_pool_backward));
}

}  // namespace saccade::cuda
