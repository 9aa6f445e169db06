#include "ops/conv2d.h"

#include "common/dispatch.h"
#include "common/large_output.h"
#include "ops/conv_grid.h"
#include "ops/conv_planes.h"
#include "ops/conv_winograd.h"

namespace saccade {
namespace {

Taps forward_taps(const ConvShape& shape) {
  Taps taps;
  for (std::int64_t i = 0; i < shape.y.kernel; ++i)
    for (std::int64_t j = 0; j < shape.x.kernel; ++j) {
      taps.y.push_back(i * shape.y.dilation - shape.y.padding);
      taps.x.push_back(j * shape.x.dilation - shape.x.padding);
    }
  return taps;
}

ConvProblem forward_problem(const ConvShape& shape, const Taps& taps, bool rows) {
  const ConvGrid grid = {shape.y.in,
                         shape.x.in,
                         shape.y.out,
                         shape.x.out,
                         shape.y.stride,
                         shape.x.stride,
                         taps.count(),
                         taps.y.data(),
                         taps.x.data(),
                         shape.y.out,
                         shape.x.out,
                         0,
                         0,
                         1,
                         1};
  return {grid, shape.images, shape.groups, shape.channels, shape.out_channels, rows};
}

// Of any strides: a channels_last weight, or one that was turned around, need not be copied first.
ConvWeights forward_weights(const ConvShape& shape, const TensorView& weight) {
  std::vector<std::int64_t> taps;
  for (std::int64_t i = 0; i < shape.y.kernel; ++i)
    for (std::int64_t j = 0; j < shape.x.kernel; ++j) taps.push_back(i * weight.stride(2) + j * weight.stride(3));
  return {weight.data, weight.dtype, weight.stride(0), weight.stride(1), shape.group_out_channels() * weight.stride(0),
          taps};
}

// Results of a tile along each axis; 0: not Winograd's.
int winograd_of(ConvAlgorithm algorithm) {
  switch (algorithm) {
    case ConvAlgorithm::kWinograd2: return 2;
    case ConvAlgorithm::kWinograd4: return 4;
    case ConvAlgorithm::kWinograd6: return 6;
    default: return 0;
  }
}

}  // namespace

std::int64_t conv2d_packed_size(const ConvShape& shape, ConvAlgorithm algorithm, DType dtype, bool rows) {
  if (const int m = winograd_of(algorithm)) return winograd_packed_size(shape, m);
  const Taps taps = forward_taps(shape);
  return packed_size(forward_problem(shape, taps, rows), dtype);
}

void conv2d_pack(const TensorView& weight, const ConvShape& shape, ConvAlgorithm algorithm, bool rows, void* packed) {
  if (const int m = winograd_of(algorithm))
    return winograd_pack(forward_weights(shape, weight), shape, m, static_cast<float*>(packed));
  const Taps taps = forward_taps(shape);
  pack(forward_problem(shape, taps, rows), forward_weights(shape, weight), packed);
}

void conv2d(const TensorView& input, const void* packed, const ConvShape& shape, ConvAlgorithm algorithm, bool rows,
            const ConvEpilogue& epilogue, const TensorView& out) {
  if (out.numel() == 0) return;
  advise_huge_pages(out.data, out.numel() * dtype_size(out.dtype));
  dispatch_floating(input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const FoldedAffine<T> affine(epilogue, shape.out_channels);
    const ConvAffine finish = {affine.scale.data(), affine.shift.data(), epilogue.residual,
                               static_cast<Activation>(epilogue.activation)};
    if (const int m = winograd_of(algorithm))
      return conv_winograd(input, static_cast<const float*>(packed), shape, m, rows, finish, out);
    const Taps taps = forward_taps(shape);
    convolve(forward_problem(shape, taps, rows), input, packed, finish, out);
  });
}

void conv2d_backward_weight(const TensorView& grad, const TensorView& input, const ConvShape& shape,
                            ConvAlgorithm algorithm, bool rows, const TensorView& grad_weight) {
  if (algorithm == ConvAlgorithm::kWinograd4 && grad.numel() > 0)
    return conv_winograd_weight_gradient(grad, input, shape, rows, forward_weights(shape, grad_weight),
                                         grad_weight.ptr<float>());
  const Taps taps = forward_taps(shape);
  const ConvProblem problem = forward_problem(shape, taps, rows);
  const ConvWeights layout = forward_weights(shape, grad_weight);
  if (!problem.rows) return conv_planes_weight_gradient(problem, input, grad, layout, grad_weight.data);
  if (conv_lanes_serve(problem, input.dtype))
    return conv_lanes_weight_gradient(problem, input, grad, layout, grad_weight.data);
  conv_weight_gradient(problem, input, grad, layout, grad_weight.data);
}

void conv2d_backward_bias(const TensorView& grad, const ConvShape& shape, const TensorView& grad_bias) {
  const Taps taps = forward_taps(shape);
  conv_bias_gradient(forward_problem(shape, taps, grad.is_channels_last() && !grad.is_contiguous()), grad,
                     grad_bias.data);
}

}  // namespace saccade
