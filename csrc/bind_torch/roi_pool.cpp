#include "ops/roi_pool.h"

#include "bind_torch/memory_format.h"

namespace saccade::bind_torch {
namespace {

std::tuple<Tensor, Tensor> roi_pool(const Tensor& input, const Tensor& rois, double spatial_scale,
                                    std::int64_t pooled_height, std::int64_t pooled_width) {
  check_roi_pool(view(input), view(rois), spatial_scale, pooled_height, pooled_width);
  const MemoryFormat format = format_of(input);
  const Tensor ordered = in_format(input, format);
  const std::vector<std::int64_t> shape = {rois.size(0), input.size(1), pooled_height, pooled_width};
  Tensor out = empty(shape, input, {}, format), argmax = empty(shape, input, ScalarType::Int, format);
  saccade::roi_pool(view(ordered), view(rois), spatial_scale, view(out), view(argmax));
  return {out, argmax};
}

Tensor roi_pool_backward(const Tensor& grad, const Tensor& rois, const Tensor& argmax,
                         std::vector<std::int64_t> input_shape, double spatial_scale, bool channels_last) {
  const MemoryFormat format = channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  Tensor grad_input = empty(input_shape, grad, {}, format);
  const Tensor ordered_grad = in_format(grad, format_of(grad_input));
  const Tensor ordered_argmax = in_format(argmax, format_of(grad_input));
  saccade::roi_pool_backward(view(ordered_grad), view(rois), view(ordered_argmax), spatial_scale, view(grad_input));
  return grad_input;
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width) "
      "-> (Tensor, Tensor)");
  m.def(
      "_roi_pool_backward(Tensor grad, Tensor rois, Tensor argmax, SymInt[] input_shape, float spatial_scale, "
      "bool channels_last) -> Tensor");
}

SACCADE_TORCH_CPU(m) {
  m.impl("roi_pool", SACCADE_BOX(roi_pool));
  m.impl("_roi_pool_backward", SACCADE_BOX(roi_pool_backward));
}

}  // namespace saccade::bind_torch
