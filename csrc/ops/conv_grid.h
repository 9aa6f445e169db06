// What the convolutions and the transposed ones share: a problem on a grid, by the one of the ways that serves it, and
// the affine map that follows.
#pragma once

#include "common/scratch.h"
#include "math/half.h"
#include "ops/conv2d.h"
#include "ops/conv_gemm.h"
#include "ops/conv_lanes.h"
#include "ops/conv_planes.h"

namespace saccade {

// The taps of a grid, which borrows their arrays.
struct Taps {
  std::vector<std::int64_t> y, x, weight;

  std::int64_t count() const { return static_cast<std::int64_t>(y.size()); }
};

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

// A problem on a grid by the one of the four ways that serves it.
inline std::int64_t packed_size(const ConvProblem& problem, DType dtype) {
  if (!problem.rows) return conv_planes_packed_size(problem);
  if (conv_lanes_serve(problem, dtype)) return conv_lanes_packed_size(problem, dtype);
  return conv_pairs_serve(dtype) ? conv_pairs_packed_size(problem) : conv_packed_size(problem, dtype);
}
inline void pack(const ConvProblem& problem, const ConvWeights& weights, void* packed) {
  if (!problem.rows) return conv_planes_pack(problem, weights, packed);
  if (conv_lanes_serve(problem, weights.dtype)) return conv_lanes_pack(problem, weights, packed);
  if (conv_pairs_serve(weights.dtype)) return conv_pairs_pack(problem, weights, packed);
  conv_pack(problem, weights, packed);
}
inline void convolve(const ConvProblem& problem, const TensorView& source, const void* packed, const ConvAffine& affine,
                     const TensorView& out) {
  if (!problem.rows) return conv_planes(problem, source, packed, affine, out);
  if (conv_lanes_serve(problem, source.dtype)) return conv_lanes(problem, source, packed, affine, out);
  if (conv_pairs_serve(source.dtype)) return conv_pairs(problem, source, packed, affine, out);
  conv_gemm(problem, source, packed, affine, out);
}

}  // namespace saccade
