#include "ops/conv_transpose2d.h"

#include "common/dispatch.h"
#include "common/large_output.h"
#include "ops/conv_grid.h"
#include "ops/conv_phases.h"
#include "ops/conv_shuffle.h"
#include "ops/conv_spread.h"

namespace saccade {
namespace {

// The same and those of this image that no tap reaches.
std::vector<Phase> all_phases_of(const WindowAxis& axis) {
  std::vector<Phase> phases = phases_of(axis);
  std::vector<char> reached(std::min(axis.stride, axis.in));
  for (const Phase& phase : phases)
    if (phase.first < axis.in) reached[phase.first] = 1;
  for (std::size_t first = 0; first < reached.size(); ++first)
    if (!reached[first]) phases.push_back({static_cast<std::int64_t>(first), {}, {}});
  return phases;
}

Taps taps_of(const ConvShape& shape, const Phase& y, const Phase& x) {
  Taps taps;
  for (std::size_t i = 0; i < y.taps.size(); ++i)
    for (std::size_t j = 0; j < x.taps.size(); ++j) {
      taps.y.push_back(y.offsets[i]);
      taps.x.push_back(x.offsets[j]);
      taps.weight.push_back(y.taps[i] * shape.x.kernel + x.taps[j]);
    }
  return taps;
}

ConvProblem problem_of(const ConvShape& shape, const Phase& y, const Phase& x, const Taps& taps, bool rows) {
  const ConvGrid grid = {shape.y.out, shape.x.out,  y.count(shape.y), x.count(shape.x), 1,
                         1,           taps.count(), taps.y.data(),    taps.x.data(),    shape.y.in,
                         shape.x.in,  y.first,      x.first,          shape.y.stride,   shape.x.stride};
  return {grid, shape.images, shape.groups, shape.out_channels, shape.channels, rows};
}

// Calls body(problem, taps) for the ordinary convolution, from source cells to results, that each phase is.
template <class Body>
void for_each_phase(const ConvShape& shape, bool rows, const std::vector<Phase>& ys, const std::vector<Phase>& xs,
                    const Body& body) {
  for (const Phase& y : ys)
    for (const Phase& x : xs) {
      const Taps taps = taps_of(shape, y, x);
      body(problem_of(shape, y, x, taps, rows), taps);
    }
}

}  // namespace

std::int64_t conv_transpose2d_packed_size(const ConvShape& shape, DType dtype, bool rows) {
  if (conv_spread_serves(shape)) return conv_spread_packed_size(shape, dtype, rows);
  if (conv_shuffle_serves(shape)) return conv_shuffle_packed_size(shape, dtype);
  std::int64_t size = 0;
  for_each_phase(shape, rows, phases_of(shape.y), phases_of(shape.x),
                 [&](const ConvProblem& problem, const Taps&) { size += packed_size(problem, dtype); });
  return size;
}

void conv_transpose2d_pack(const TensorView& weight, const ConvShape& shape, bool rows, void* packed) {
  if (conv_spread_serves(shape)) return conv_spread_pack(weight, shape, rows, packed);
  if (conv_shuffle_serves(shape)) return conv_shuffle_pack(weight, shape, rows, packed);
  dispatch_floating(weight.dtype, [&](auto tag) {
    using A = decltype(to_float(typename decltype(tag)::type{}));
    A* to = static_cast<A*>(packed);
    const std::int64_t c_step = shape.group_channels() * shape.taps();
    for_each_phase(
        shape, rows, phases_of(shape.y), phases_of(shape.x), [&](const ConvProblem& problem, const Taps& taps) {
          pack(problem,
               {weight.data, weight.dtype, shape.taps(), c_step, shape.group_out_channels() * c_step, taps.weight}, to);
          to += packed_size(problem, weight.dtype);
        });
  });
}

void conv_transpose2d(const TensorView& input, const void* packed, const ConvShape& shape, bool rows,
                      const ConvEpilogue& epilogue, const TensorView& out) {
  if (out.numel() == 0) return;
  advise_huge_pages(out.data, out.numel() * dtype_size(out.dtype));
  dispatch_floating(input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const FoldedAffine<T> affine(epilogue, shape.channels);
    const ConvAffine finish = {affine.scale.data(), affine.shift.data(), epilogue.residual,
                               static_cast<Activation>(epilogue.activation)};
    if (conv_spread_serves(shape)) return conv_spread(input, packed, shape, rows, finish, out);
    if (conv_shuffle_serves(shape)) return conv_shuffle(input, packed, shape, rows, finish, out);
    const A* weights = static_cast<const A*>(packed);
    for_each_phase(shape, rows, all_phases_of(shape.y), all_phases_of(shape.x),
                   [&](const ConvProblem& problem, const Taps& taps) {
                     if (problem.grid.results() > 0) convolve(problem, input, weights, finish, out);
                     if (taps.count() > 0) weights += packed_size(problem, input.dtype);
                   });
  });
}

void conv_transpose2d_backward_input(const TensorView& grad, const TensorView& weight, const ConvShape& shape,
                                     bool rows, const TensorView& grad_input) {
  dispatch_floating(grad.dtype, [&](auto tag) {
    using A = decltype(to_float(typename decltype(tag)::type{}));
    const Scratch<A> packed(conv2d_packed_size(shape, ConvAlgorithm::kGemm, grad.dtype, rows));
    conv2d_pack(weight, shape, ConvAlgorithm::kGemm, rows, packed.data());
    conv2d(grad, packed.data(), shape, ConvAlgorithm::kGemm, rows, {}, grad_input);
  });
}

void conv2d_backward_input(const TensorView& grad, const TensorView& weight, const ConvShape& shape, bool rows,
                           const TensorView& grad_input) {
  dispatch_floating(grad.dtype, [&](auto tag) {
    using A = decltype(to_float(typename decltype(tag)::type{}));
    const Scratch<A> packed(conv_transpose2d_packed_size(shape, grad.dtype, rows));
    conv_transpose2d_pack(weight, shape, rows, packed.data());
    conv_transpose2d(grad, packed.data(), shape, rows, {}, grad_input);
  });
}

}  // namespace saccade
