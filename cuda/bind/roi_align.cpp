#include "ops/roi_align.h"

#include "bind_torch/memory_format.h"
#include "common/dispatch.h"
#include "cuda/bind/roi.h"
#include "cuda/kernels/roi_align.h"
#include "math/half.h"

namespace saccade::cuda {
namespace {

using bind_torch::format_of, bind_torch::in_format, bind_torch::MemoryFormat, bind_torch::views;

RoiGeometry geometry_of(const char* op, const std::vector<Tensor>& maps, const std::vector<double>& scales,
                        const RoiAlignParams& params) {
  require(scales.size() <= kMaxRoiLevels, op, ": features must hold at most ", kMaxRoiLevels, " maps on CUDA, got ",
          scales.size());
  RoiGeometry geometry = {BinKind::kSamples,
                          sampling_of(params),
                          maps[0].size(0),
                          params.pooled_h,
                          params.pooled_w,
                          static_cast<int>(scales.size()),
                          {},
                          params.canonical_scale,
                          params.canonical_level};
  for (std::size_t l = 0; l < scales.size(); ++l) geometry.level[l] = {maps[l].size(2), maps[l].size(3), scales[l]};
  return geometry;
}

Tensor forward(const char* op, std::vector<Tensor> features, const Tensor& rois, const std::vector<double>& scales,
               const RoiAlignParams& params) {
  check_roi_align(op, views(features), view(rois), scales, params);
  const RoiGeometry geometry = geometry_of(op, features, scales, params);
  const DeviceOf device(rois);
  const MemoryFormat format = format_of(features[0]);
  for (Tensor& feature : features) feature = in_format(feature, format);
  const std::int64_t channels = features[0].size(1), size = channels * params.pooled_h * params.pooled_w;
  Tensor out = empty({rois.size(0), channels, params.pooled_h, params.pooled_w}, features[0], {}, format);
  dispatch_floating(view(out).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    RoiMaps<const T> maps = {};
    for (std::size_t l = 0; l < features.size(); ++l) maps.data[l] = view(features[l]).template ptr<T>();
    const RegionsOf<A> regions(rois, geometry, device.stream());
    regions.for_taps([&](std::int64_t first, std::int64_t count, const std::int32_t* begins, const Tap<A>* taps) {
      launch_roi_align<T, A>(maps, geometry, channels, format == MemoryFormat::ChannelsLast, regions.regions() + first,
                             count, begins, taps, view(out).template ptr<T>() + first * size, device.stream());
    });
  });
  return out;
}

std::vector<Tensor> backward(const char* op, const Tensor& grad, const Tensor& rois, const std::vector<double>& scales,
                             const std::vector<std::vector<std::int64_t>>& shapes, const RoiAlignParams& params,
                             bool channels_last) {
  const MemoryFormat format = channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  std::vector<Tensor> grads;
  for (const auto& shape : shapes) grads.push_back(empty(shape, grad, {}, format));
  check_roi_align_backward(op, view(grad), view(rois), scales, params, views(grads));
  const DeviceOf device(grad);
  const RoiGeometry geometry = geometry_of(op, grads, scales, params);
  const Tensor ordered = in_format(grad, format);
  dispatch_floating(view(grad).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    RoiMaps<T> maps = {};
    for (std::size_t l = 0; l < grads.size(); ++l) maps.data[l] = view(grads[l]).template ptr<T>();
    const RegionsOf<A> regions(rois, geometry, device.stream());
    regions.with_order([&](const std::int32_t* order, const std::int32_t* map_begin) {
      launch_roi_align_backward<T, A>(view(ordered).template ptr<T>(), geometry, grad.size(1), channels_last,
                                      regions.regions(), order, map_begin, maps, device.stream());
    });
  });
  return grads;
}

Tensor roi_align(const Tensor& input, const Tensor& rois, double spatial_scale, std::int64_t pooled_height,
                 std::int64_t pooled_width, std::int64_t sampling_ratio, bool aligned) {
  return forward("roi_align", {input}, rois, {spatial_scale}, {pooled_height, pooled_width, sampling_ratio, aligned});
}

Tensor roi_align_backward(const Tensor& grad, const Tensor& rois, std::vector<std::int64_t> input_shape,
                          double spatial_scale, std::int64_t pooled_height, std::int64_t pooled_width,
                          std::int64_t sampling_ratio, bool aligned, bool channels_last) {
  return backward("roi_align", grad, rois, {spatial_scale}, {input_shape},
                  {pooled_height, pooled_width, sampling_ratio, aligned}, channels_last)[0];
}

Tensor multiscale_roi_align(std::vector<Tensor> features, const Tensor& rois, std::vector<double> scales,
                            std::int64_t pooled_height, std::int64_t pooled_width, std::int64_t sampling_ratio,
                            bool aligned, double canonical_scale, std::int64_t canonical_level) {
  return forward("multiscale_roi_align", features, rois, scales,
                 {pooled_height, pooled_width, sampling_ratio, aligned, canonical_scale, canonical_level});
}

std::vector<Tensor> multiscale_roi_align_backward(const Tensor& grad, const Tensor& rois,
                                                  std::vector<std::int64_t> shape, std::vector<double> scales,
                                                  std::int64_t pooled_height, std::int64_t pooled_width,
                                                  std::int64_t sampling_ratio, bool aligned, double canonical_scale,
                                                  std::int64_t canonical_level, bool channels_last) {
  return backward("multiscale_roi_align", grad, rois, scales, level_shapes(shape, scales.size()),
                  {pooled_height, pooled_width, sampling_ratio, aligned, canonical_scale, canonical_level},
                  channels_last);
}

}  // namespace

SACCADE_TORCH_CUDA(m) {
  m.impl("roi_align", SACCADE_BOX(roi_align));
  m.impl("_roi_align_backward", SACCADE_BOX(roi_align_backward));
  m.impl("multiscale_roi_align", SACCADE_BOX(multiscale_roi_align));
  m.impl("_multiscale_roi_align_backward", SACCADE_BOX(multiscale_roi_align_backward));
}

}  // namespace saccade::cuda
