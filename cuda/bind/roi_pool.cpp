#include "ops/roi_pool.h"

#include "bind_torch/memory_format.h"
#include "common/dispatch.h"
#include "cuda/bind/roi.h"
#include "cuda/kernels/roi_pool.h"
#include "math/half.h"

namespace saccade::cuda {
namespace {

using bind_torch::format_of, bind_torch::in_format, bind_torch::MemoryFormat;

std::tuple<Tensor, Tensor> roi_pool(const Tensor& input, const Tensor& rois, double spatial_scale,
                                    std::int64_t pooled_height, std::int64_t pooled_width) {
  check_roi_pool(view(input), view(rois), spatial_scale, pooled_height, pooled_width);
  const DeviceOf device(input);
  const MemoryFormat format = format_of(input);
  const Tensor ordered = in_format(input, format);
  const std::vector<std::int64_t> shape = {rois.size(0), input.size(1), pooled_height, pooled_width};
  Tensor out = empty(shape, input, {}, format), argmax = empty(shape, input, ScalarType::Int, format);
  const RoiGeometry geometry = one_map(BinKind::kMaxima, {}, view(input), spatial_scale, pooled_height, pooled_width);
  dispatch_floating(view(input).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const RegionsOf<A> regions(rois, geometry, device.stream());
    launch_roi_pool<T, A>(view(ordered).template ptr<T>(), geometry, input.size(1),
                          format == MemoryFormat::ChannelsLast, regions.regions(), regions.count(),
                          view(out).template ptr<T>(), view(argmax).template ptr<std::int32_t>(), device.stream());
  });
  return {out, argmax};
}

Tensor roi_pool_backward(const Tensor& grad, const Tensor& rois, const Tensor& argmax,
                         std::vector<std::int64_t> input_shape, double spatial_scale, bool channels_last) {
  const MemoryFormat format = channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  Tensor grad_input = empty(input_shape, grad, {}, format);
  check_roi_pool(view(grad_input), view(rois), spatial_scale, view(grad).size(2), view(grad).size(3));
  check_roi_pool_backward(view(grad), view(rois), view(argmax), view(grad_input));
  const DeviceOf device(grad);
  const Tensor ordered_grad = in_format(grad, format), ordered_argmax = in_format(argmax, format);
  const RoiGeometry geometry =
      one_map(BinKind::kMaxima, {}, view(grad_input), spatial_scale, grad.size(2), grad.size(3));
  dispatch_floating(view(grad).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const RegionsOf<A> regions(rois, geometry, device.stream());
    regions.with_order([&](const std::int32_t* order, const std::int32_t* map_begin) {
      launch_roi_pool_backward<T, A>(view(ordered_grad).template ptr<T>(),
                                     view(ordered_argmax).template ptr<std::int32_t>(), geometry, grad.size(1),
                                     channels_last, regions.regions(), order, map_begin,
                                     view(grad_input).template ptr<T>(), device.stream());
    });
  });
  return grad_input;
}

}  // namespace

SACCADE_TORCH_CUDA(m) {
  m.impl("roi_pool", SACCADE_BOX(roi_pool));
  m.impl("_roi_pool_backward", SACCADE_BOX(roi_pool_backward));
}

}  // namespace saccade::cuda
