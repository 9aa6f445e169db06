#include "ops/roi_align.h"

#include "bind_torch/memory_format.h"

namespace saccade::bind_torch {
namespace {

Tensor forward(const char* op, std::vector<Tensor> features, const Tensor& rois, const std::vector<double>& scales,
               const RoiAlignParams& params) {
  check_roi_align(op, views(features), view(rois), scales, params);
  const MemoryFormat format = format_of(features[0]);
  for (Tensor& feature : features) feature = in_format(feature, format);
  Tensor out = empty({rois.size(0), features[0].size(1), params.pooled_h, params.pooled_w}, features[0], {}, format);
  saccade::roi_align(op, views(features), view(rois), scales, params, view(out));
  return out;
}

std::vector<Tensor> backward(const char* op, const Tensor& grad, const Tensor& rois, const std::vector<double>& scales,
                             const std::vector<std::vector<std::int64_t>>& shapes, const RoiAlignParams& params,
                             bool channels_last) {
  const MemoryFormat format = channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  std::vector<Tensor> grads;
  for (const auto& shape : shapes) grads.push_back(empty(shape, grad, {}, format));
  // A map of one cell or one channel has both formats; planes only where all maps are planes (ops/roi_align.cpp).
  bool planar = true;
  for (const Tensor& map : grads) planar = planar && view(map).is_contiguous();
  const Tensor ordered = in_format(grad, planar ? MemoryFormat::Contiguous : MemoryFormat::ChannelsLast);
  saccade::roi_align_backward(op, view(ordered), view(rois), scales, params, views(grads));
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

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
      "int sampling_ratio, bool aligned) -> Tensor");
  m.def(
      "_roi_align_backward(Tensor grad, Tensor rois, SymInt[] input_shape, float spatial_scale, SymInt pooled_height, "
      "SymInt pooled_width, int sampling_ratio, bool aligned, bool channels_last) -> Tensor");
  m.def(
      "multiscale_roi_align(Tensor[] features, Tensor rois, float[] scales, SymInt pooled_height, SymInt pooled_width, "
      "int sampling_ratio, bool aligned, float canonical_scale, int canonical_level) -> Tensor");
  m.def(
      "_multiscale_roi_align_backward(Tensor grad, Tensor rois, SymInt[] shape, float[] scales, SymInt pooled_height, "
      "SymInt pooled_width, int sampling_ratio, bool aligned, float canonical_scale, int canonical_level, "
      "bool channels_last) -> Tensor[]");
}

SACCADE_TORCH_CPU(m) {
  m.impl("roi_align", SACCADE_BOX(roi_align));
  m.impl("_roi_align_backward", SACCADE_BOX(roi_align_backward));
  m.impl("multiscale_roi_align", SACCADE_BOX(multiscale_roi_align));
  m.impl("_multiscale_roi_align_backward", SACCADE_BOX(multiscale_roi_align_backward));
}

}  // namespace saccade::bind_torch
