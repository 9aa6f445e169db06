#include "ops/deform_conv2d.h"

#include "bind_torch/memory_format.h"
#include "common/dispatch.h"
#include "cuda/common/torch.h"
#include "cuda/kernels/conv2d.h"
#include "cuda/kernels/deform_conv2d.h"
#include "math/half.h"
#include "ops/conv2d.h"

namespace saccade::cuda {
namespace {

using bind_torch::format_of, bind_torch::in_format, bind_torch::MemoryFormat;
using Sizes = std::vector<std::int64_t>;
using OptionalTensor = std::optional<Tensor>;

std::optional<TensorView> optional_view(const OptionalTensor& tensor) {
  return tensor ? std::optional(view(*tensor)) : std::nullopt;
}

Tensor in_either_format(const Tensor& tensor) { return in_format(tensor, format_of(tensor)); }
bool is_last(const Tensor& tensor) { return format_of(tensor) == MemoryFormat::ChannelsLast; }
Tensor beside(const Tensor& tensor) {
  return empty({tensor.size(0), tensor.size(1), tensor.size(2), tensor.size(3)}, tensor, {}, format_of(tensor));
}

// The tensors that samples are taken from, as the kernels read them.
struct Sources {
  Sources(const Tensor& input, const Tensor& offset, const OptionalTensor& mask)
      : input(in_either_format(input)),
        offset(in_either_format(offset)),
        mask(mask ? OptionalTensor(in_either_format(*mask)) : std::nullopt) {}

  template <class T>
  DeformData<T> data() const {
    return {view(input).ptr<const T>(),
            view(offset).ptr<const T>(),
            mask ? view(*mask).ptr<const T>() : nullptr,
            is_last(input),
            is_last(offset),
            mask && is_last(*mask)};
  }
  Tensor input, offset;
  OptionalTensor mask;
};

// The weight in the order of launch_conv2d_pack, as one dimension.
Tensor pack(const Tensor& weight, const DeformShape& shape, bool for_gradient, cudaStream_t stream) {
  const Tensor ordered = torch::stable::contiguous(weight);
  Tensor packed = empty({weight.numel()}, weight);
  dispatch_floating(view(weight).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch_conv2d_pack(shape.conv, view(ordered).ptr<const T>(), for_gradient, view(packed).ptr<T>(), stream);
  });
  return packed;
}

Tensor deform_conv2d_pack(const Tensor& weight, std::int64_t groups) {
  const DeformShape shape = check_deform_conv2d_pack("deform_conv2d", view(weight), groups);
  const DeviceOf device(weight);
  return pack(weight, shape, false, device.stream());
}

Tensor deform_conv2d(const Tensor& input, const Tensor& offset, const Tensor& weight, const OptionalTensor& bias,
                     const OptionalTensor& mask, const OptionalTensor& packed, Sizes stride, Sizes padding,
                     Sizes dilation) {
  const DeformShape shape = check_deform_conv2d(
      "deform_conv2d", {view(input), view(offset), view(weight), optional_view(mask)}, stride, padding, dilation);
  ConvEpilogue epilogue;
  epilogue.bias = optional_view(bias);
  check_conv2d_epilogue("deform_conv2d", view(input), shape.conv, epilogue);
  const DeviceOf device(input);
  const Tensor weights = packed ? *packed : pack(weight, shape, false, device.stream());
  require(weights.numel() == weight.numel() && weights.scalar_type() == weight.scalar_type(),
          "deform_conv2d: packed must be the weight packed for this shape, got ", weights.numel(), " elements");
  const Sources sources(input, offset, mask);
  const ConvShape& conv = shape.conv;
  Tensor out = empty({conv.images, conv.out_channels, conv.y.out, conv.x.out}, input, {}, format_of(input));
  dispatch_floating(view(input).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch_deform_conv2d(shape, sources.data<T>(), view(weights).ptr<const T>(),
                         channel_parameter(epilogue.bias, view(input)), view(out).ptr<T>(), device.stream());
  });
  return out;
}

// Channels whose samples' gradients, for one image, take a quarter of what input, output and weights take.
std::int64_t channels_at_once(const DeformShape& shape) {
  const ConvShape& conv = shape.conv;
  const std::int64_t all = conv.images * (conv.channels * shape.cells() + conv.out_channels * shape.results()) +
                           conv.out_channels * conv.group_channels() * conv.taps();
  return std::clamp<std::int64_t>(all / 4 / (conv.taps() * shape.results()), 1, conv.group_channels());
}

struct SampleGradients {
  OptionalTensor input, offset, mask;
};

template <class T>
void backward_samples(const DeformShape& shape, const Sources& sources, const Tensor& grad, const Tensor& weight,
                      const SampleGradients& gradients, cudaStream_t stream) {
  using A = decltype(to_float(T{}));
  const ConvShape& conv = shape.conv;
  const DeformData<T> data = sources.data<T>();
  const std::int64_t samples = shape.offset_groups * conv.taps() * shape.results(), corners = deform_corners(shape);
  const std::int64_t most = channels_at_once(shape), depth = conv.group_channels();
  const Tensor packed = pack(weight, shape, true, stream);
  const Tensor columns = scratch<A>(conv.taps() * shape.results() * most, grad);
  const Tensor products = scratch<A>(4 * samples, grad);
  Tensor sorted, order;
  const Tensor begins = empty({corners + 1}, grad, ScalarType::Long);
  if (gradients.input) {
    const Tensor places = empty({conv.images, samples}, grad, ScalarType::Long);
    launch_deform_corners(shape, data, view(places).template ptr<std::int64_t>(), stream);
    std::tie(sorted, order) = stable_sort(places, 1, false);
  }
  const auto pointer = [](const OptionalTensor& tensor) { return tensor ? view(*tensor).template ptr<T>() : nullptr; };
  A* const column_data = static_cast<A*>(columns.data_ptr());
  for (std::int64_t image = 0; image < conv.images; ++image) {
    if (gradients.input)
      launch_deform_begins(shape, view(sorted).template ptr<const std::int64_t>() + image * samples,
                           view(begins).template ptr<std::int64_t>(), stream);
    for (std::int64_t first = 0; first < conv.channels;) {
      const DeformChannels block = {image, first, std::min(most, depth - first % depth)};
      launch_deform_columns(shape, block, is_last(sources.input), view(grad).template ptr<const T>(),
                            view(packed).template ptr<const T>(), column_data, stream);
      if (gradients.offset || gradients.mask)
        launch_deform_differentiate(shape, data, block, static_cast<const A*>(column_data),
                                    static_cast<A*>(products.data_ptr()), pointer(gradients.offset),
                                    pointer(gradients.mask), stream);
      if (gradients.input)
        launch_deform_gather(shape, data, block, static_cast<const A*>(column_data),
                             view(order).template ptr<const std::int64_t>() + image * samples,
                             view(begins).template ptr<const std::int64_t>(), pointer(gradients.input), stream);
      first += block.count;
    }
  }
}

void fill_zero(const Tensor& tensor, cudaStream_t stream) {
  const std::size_t bytes = tensor.numel() * dtype_size(view(tensor).dtype);
  if (bytes > 0) check(cudaMemsetAsync(tensor.data_ptr(), 0, bytes, stream), "clearing a tensor");
}

// needed: the gradients of input, offset, mask, weight, bias.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> deform_conv2d_backward(const Tensor& grad, const Tensor& input,
                                                                          const Tensor& offset, const Tensor& weight,
                                                                          const OptionalTensor& mask, Sizes stride,
                                                                          Sizes padding, Sizes dilation,
                                                                          std::vector<bool> needed) {
  const DeformShape shape = check_deform_conv2d(
      "deform_conv2d", {view(input), view(offset), view(weight), optional_view(mask)}, stride, padding, dilation);
  check_conv2d_grad("deform_conv2d", view(grad), view(input), shape.conv);
  const DeviceOf device(input);
  const Tensor grads = in_format(grad, format_of(input));
  const Sources sources(input, offset, mask);
  const bool last = is_last(sources.input);
  SampleGradients gradients;
  if (needed.at(0)) gradients.input = beside(sources.input);
  if (needed.at(1)) gradients.offset = beside(sources.offset);
  if (needed.at(2) && mask) gradients.mask = beside(*sources.mask);
  Tensor grad_weight = empty({0}, weight), grad_bias = empty({0}, weight);
  dispatch_floating(view(input).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const T* grad_data = view(grads).template ptr<const T>();
    if (gradients.input || gradients.offset || gradients.mask) {
      if (shape.conv.channels > 0) {
        backward_samples<T>(shape, sources, grads, weight, gradients, device.stream());
      } else {
        for (const OptionalTensor& gradient : {gradients.offset, gradients.mask})
          if (gradient) fill_zero(*gradient, device.stream());
      }
    }
    if (needed.at(3)) {
      grad_weight = empty({weight.size(0), weight.size(1), weight.size(2), weight.size(3)}, weight);
      launch_deform_conv2d_backward_weight(shape, sources.data<T>(), grad_data, view(grad_weight).template ptr<T>(),
                                           device.stream());
    }
    if (needed.at(4)) {
      grad_bias = empty({weight.size(0)}, weight);
      const Tensor partials = scratch<A>(conv2d_bias_chunks(shape.conv, last).chunks * weight.size(0), input);
      launch_conv2d_backward_bias(shape.conv, last, grad_data, static_cast<A*>(partials.data_ptr()),
                                  view(grad_bias).template ptr<T>(), device.stream());
    }
  });
  const auto or_none = [&](const OptionalTensor& tensor) { return tensor ? *tensor : empty({0}, input); };
  return {or_none(gradients.input), or_none(gradients.offset), or_none(gradients.mask), grad_weight, grad_bias};
}

}  // namespace

SACCADE_TORCH_CUDA(m) {
  m.impl("deform_conv2d", SACCADE_BOX(deform_conv2d));
  m.impl("_deform_conv2d_pack", SACCADE_BOX(deform_conv2d_pack));
  m.impl("_deform_conv2d_backward", SACCADE_BOX(deform_conv2d_backward));
}

}  // namespace saccade::cuda
