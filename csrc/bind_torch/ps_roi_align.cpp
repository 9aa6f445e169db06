#include "ops/ps_roi_align.h"

#include "bind_torch/memory_format.h"

namespace saccade::bind_torch {
namespace {

Tensor forward(const Tensor& input, const Tensor& rois, const PsRoiParams& params) {
  check_ps_roi(view(input), view(rois), params);
  const MemoryFormat format = format_of(input);
  const Tensor ordered = in_format(input, format);
  Tensor out =
      empty({rois.size(0), input.size(1) / (params.pooled_h * params.pooled_w), params.pooled_h, params.pooled_w},
            input, {}, format);
  saccade::ps_roi(view(ordered), view(rois), params, view(out));
  return out;
}

Tensor backward(const Tensor& grad, const Tensor& rois, const std::vector<std::int64_t>& input_shape,
                const PsRoiParams& params, bool channels_last) {
  const MemoryFormat format = channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  Tensor grad_input = empty(input_shape, grad, {}, format);
  const Tensor ordered = in_format(grad, format_of(grad_input));
  saccade::ps_roi_backward(view(ordered), view(rois), params, view(grad_input));
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

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "ps_roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
      "int sampling_ratio) -> Tensor");
  m.def(
      "_ps_roi_align_backward(Tensor grad, Tensor rois, SymInt[] input_shape, float spatial_scale, "
      "SymInt pooled_height, SymInt pooled_width, int sampling_ratio, bool channels_last) -> Tensor");
  m.def(
      "ps_roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width) -> "
      "Tensor");
  m.def(
      "_ps_roi_pool_backward(Tensor grad, Tensor rois, SymInt[] input_shape, float spatial_scale, SymInt "
      "pooled_height, "
      "SymInt pooled_width, bool channels_last) -> Tensor");
}

SACCADE_TORCH_CPU(m) {
  m.impl("ps_roi_align", SACCADE_BOX(ps_roi_align));
  m.impl("_ps_roi_align_backward", SACCADE_BOX(ps_roi_align_backward));
  m.impl("ps_roi_pool", SACCADE_BOX(ps_roi_pool));
  m.impl("_ps_roi_pool_backward", SACCADE_BOX(ps_roi_pool_backward));
}

}  // namespace saccade::bind_torch
