#include "ops/conv2d.h"

#include "common/dispatch.h"
#include "common/large_output.h"
#include "common/scratch.h"
#include "math/half.h"
#include "ops/conv_gemm.h"
#include "ops/conv_lanes.h"
#include "ops/conv_planes.h"
#include "ops/conv_winograd.h"

namespace saccade {
namespace {

// The taps of a grid, whose arrays it borrows.
struct Taps {
  std::vector<std::int64_t> y, x, weight;

  std::int64_t count() const { return static_cast<std::int64_t>(weight.size()); }
};

bool channels_last(const TensorView& view) { return view.is_channels_last() && !view.is_contiguous(); }

Taps forward_taps(const ConvShape& shape) {
  Taps taps;
  for (std::int64_t i = 0; i < shape.y.kernel; ++i)
    for (std::int64_t j = 0; j < shape.x.kernel; ++j) {
      taps.y.push_back(i * shape.y.dilation - shape.y.padding);
      taps.x.push_back(j * shape.x.dilation - shape.x.padding);
      taps.weight.push_back(i * shape.x.kernel + j);
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

ConvWeights forward_weights(const ConvShape& shape, const Taps& taps, const void* data, DType dtype) {
  const std::int64_t n_step = shape.group_channels() * shape.taps();
  return {data, dtype, n_step, shape.taps(), shape.group_out_channels() * n_step, taps.weight};
}

// The positions of one axis that share a remainder modulo the stride: first + p * stride, p < count. Tap i of the
// kernel reaches them from the result p + offset.
struct Phase {
  std::int64_t first, count;
  std::vector<std::int64_t> taps, offsets;
};
Phase phase_of(const WindowAxis& axis, std::int64_t first) {
  Phase phase = {first, (axis.in - first + axis.stride - 1) / axis.stride, {}, {}};
  for (std::int64_t i = 0; i < axis.kernel; ++i) {
    const std::int64_t distance = first + axis.padding - i * axis.dilation;
    if (distance % axis.stride == 0) phase.taps.push_back(i), phase.offsets.push_back(distance / axis.stride);
  }
  return phase;
}

// Calls body(problem, weights) for every grid of the transposed convolution, from results to cells.
template <class Body>
void for_each_phase(const ConvShape& shape, const TensorView& weight, bool rows, const Body& body) {
  for (std::int64_t py = 0; py < std::min(shape.y.stride, shape.y.in); ++py) {
    for (std::int64_t px = 0; px < std::min(shape.x.stride, shape.x.in); ++px) {
      const Phase y = phase_of(shape.y, py), x = phase_of(shape.x, px);
      Taps taps;
      for (std::size_t i = 0; i < y.taps.size(); ++i)
        for (std::size_t j = 0; j < x.taps.size(); ++j) {
          taps.y.push_back(y.offsets[i]);
          taps.x.push_back(x.offsets[j]);
          taps.weight.push_back(y.taps[i] * shape.x.kernel + x.taps[j]);
        }
      const ConvGrid grid = {shape.y.out,  shape.x.out,    y.count,       x.count,    1,          1,
                             taps.count(), taps.y.data(),  taps.x.data(), shape.y.in, shape.x.in, py,
                             px,           shape.y.stride, shape.x.stride};
      const std::int64_t c_step = shape.group_channels() * shape.taps();
      body(ConvProblem{grid, shape.images, shape.groups, shape.out_channels, shape.channels, rows},
           ConvWeights{weight.data, weight.dtype, shape.taps(), c_step, shape.group_out_channels() * c_step,
                       taps.weight});
    }
  }
}

// scale and shift of the epilogue, the bias folded in.
template <class T>
class FoldedAffine {
  using A = decltype(to_float(T{}));

 public:
  FoldedAffine(const ConvEpilogue& epilogue, std::int64_t channels) : scale(channels), shift(channels) {
    for (std::int64_t k = 0; k < channels; ++k) {
      scale[k] = value(epilogue.scale, k, 1);
      shift[k] = value(epilogue.bias, k, 0) * scale[k] + value(epilogue.shift, k, 0);
    }
  }
  const Scratch<A> scale, shift;

 private:
  static A value(const std::optional<TensorView>& view, std::int64_t k, A missing) {
    if (!view) return missing;
    const std::int64_t at = k * view->stride(0);
    return view->dtype == DType::kFloat32 ? static_cast<A>(view->ptr<float>()[at]) : to_float(view->ptr<T>()[at]);
  }
};

// A problem on a grid by the one of the three ways that serves it.
std::int64_t packed_size(const ConvProblem& problem, DType dtype) {
  if (!problem.rows) return conv_planes_packed_size(problem);
  return conv_lanes_serve(problem, dtype) ? conv_lanes_packed_size(problem, dtype) : conv_packed_size(problem, dtype);
}
void pack(const ConvProblem& problem, const ConvWeights& weights, void* packed) {
  if (!problem.rows) return conv_planes_pack(problem, weights, packed);
  const bool lanes = conv_lanes_serve(problem, weights.dtype);
  return lanes ? conv_lanes_pack(problem, weights, packed) : conv_pack(problem, weights, packed);
}
void convolve(const ConvProblem& problem, const TensorView& source, const void* packed, const ConvAffine& affine,
              const TensorView& out) {
  if (!problem.rows) return conv_planes(problem, source, packed, affine, out);
  const bool lanes = conv_lanes_serve(problem, source.dtype);
  return lanes ? conv_lanes(problem, source, packed, affine, out) : conv_gemm(problem, source, packed, affine, out);
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
    return winograd_pack(weight.ptr<const float>(), shape, m, static_cast<float*>(packed));
  const Taps taps = forward_taps(shape);
  pack(forward_problem(shape, taps, rows), forward_weights(shape, taps, weight.data, weight.dtype), packed);
}

void conv2d(const TensorView& input, const void* packed, const ConvShape& shape, ConvAlgorithm algorithm,
            const ConvEpilogue& epilogue, const TensorView& out) {
  if (out.numel() == 0) return;
  advise_huge_pages(out.data, out.numel() * dtype_size(out.dtype));
  dispatch_floating(input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const FoldedAffine<T> affine(epilogue, shape.out_channels);
    const ConvAffine finish = {affine.scale.data(), affine.shift.data(), epilogue.residual,
                               static_cast<Activation>(epilogue.activation)};
    if (const int m = winograd_of(algorithm))
      return conv_winograd(input, static_cast<const float*>(packed), shape, m, finish, out);
    const Taps taps = forward_taps(shape);
    convolve(forward_problem(shape, taps, channels_last(input)), input, packed, finish, out);
  });
}

void conv2d_backward_input(const TensorView& grad, const TensorView& weight, const ConvShape& shape,
                           const TensorView& grad_input) {
  if (grad_input.numel() == 0) return;
  advise_huge_pages(grad_input.data, grad_input.numel() * dtype_size(grad_input.dtype));
  dispatch_floating(grad.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const FoldedAffine<T> none({}, shape.channels);
    for_each_phase(shape, weight, channels_last(grad_input), [&](const ConvProblem& problem, const ConvWeights& w) {
      const Scratch<A> packed(packed_size(problem, grad.dtype));
      pack(problem, w, packed.data());
      convolve(problem, grad, packed.data(), {none.scale.data(), none.shift.data(), {}, Activation::kNone}, grad_input);
    });
  });
}

void conv2d_backward_weight(const TensorView& grad, const TensorView& input, const ConvShape& shape,
                            const TensorView& grad_weight) {
  const Taps taps = forward_taps(shape);
  const ConvProblem problem = forward_problem(shape, taps, channels_last(input));
  const ConvWeights layout = forward_weights(shape, taps, nullptr, grad_weight.dtype);
  if (!problem.rows) return conv_planes_weight_gradient(problem, input, grad, layout, grad_weight.data);
  if (conv_lanes_serve(problem, input.dtype))
    return conv_lanes_weight_gradient(problem, input, grad, layout, grad_weight.data);
  conv_weight_gradient(problem, input, grad, layout, grad_weight.data);
}

void conv2d_backward_bias(const TensorView& grad, const ConvShape& shape, const TensorView& grad_bias) {
  const Taps taps = forward_taps(shape);
  conv_bias_gradient(forward_problem(shape, taps, channels_last(grad)), grad, grad_bias.data);
}

}  // namespace saccade
