// Kernels of batch_norm (csrc/ops/batch_norm.h). A block is a rectangle of one tensor: `outer` runs of `inner`
// neighbouring elements. Planes: the runs belong to one channel. Rows (channels innermost): a run holds all channels.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "isa/isa.h"
#include "math/activation.h"

namespace saccade {

struct NormBlock {
  std::int64_t offset, outer, stride, inner;
  std::int64_t channel;  // of the first element
};

// Arrays by channel are readable up to this many elements past their end.
constexpr std::int64_t kNormPadding = 16;

template <class T>
struct NormForward {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const T *x, *residual;  // residual: may be null
  T* out;
  const A *mean, *scale, *shift;
  Activation activation;
  bool stream;  // write past the caches
};

template <class T>
struct NormBackward {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const T *grad, *x, *out;    // out: null without an activation
  T *grad_x, *grad_residual;  // may be null; `gradient` needs grad_x
  const A *mean, *scale, *slope, *shift;
  Activation activation;
  bool stream;
};

template <class T>
struct BatchNormFunctions {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  // A pivot near the block's mean, the sum of x - pivot and that of its square: at [0], [pitch], [2 pitch], each by
  // channel.
  void (*moments)(const T* x, const NormBlock& block, A* partial, std::int64_t pitch);
  // out = activation((x - mean) * scale + shift + residual)
  void (*normalize)(const NormForward<T>& arguments, const NormBlock& block);
  // The sums of g and of g (x - mean), g = grad * activation'(out), at [0] and [pitch]; grad_x = g * scale and
  // grad_residual = g where they are wanted.
  void (*reduce)(const NormBackward<T>& arguments, const NormBlock& block, A* partial, std::int64_t pitch);
  // grad_x = g * scale + (x - mean) * slope + shift, grad_residual = g
  void (*gradient)(const NormBackward<T>& arguments, const NormBlock& block);
};

// Over blocks in order, for `width` channels at once, in double. partials: block k at k * parts * pitch.
template <class A>
struct NormCombine {
  // mean and sum of squared deviations from it (Chan, Golub and LeVeque, 1979); counts: elements of each block.
  void (*moments)(const A* partials, std::int64_t pitch, const double* counts, std::int64_t blocks, std::int64_t width,
                  double* mean, double* squares);
  void (*sums)(const A* partials, std::int64_t pitch, std::int64_t blocks, std::int64_t width, double* first,
               double* second);
};

template <class T>
struct BatchNormLayouts {
  BatchNormFunctions<T> planes, rows;
};

struct BatchNormKernels {
  BatchNormLayouts<Float16> f16;
  BatchNormLayouts<BFloat16> bf16;
  BatchNormLayouts<float> f32;
  BatchNormLayouts<double> f64;
  NormCombine<float> combine_f32;
  NormCombine<double> combine_f64;

  template <class T>
  const BatchNormFunctions<T>& get(bool rows) const {
    const auto& layouts = [&]() -> const auto& {
      if constexpr (std::is_same_v<T, Float16>) return f16;
      if constexpr (std::is_same_v<T, BFloat16>) return bf16;
      if constexpr (std::is_same_v<T, float>) return f32;
      if constexpr (std::is_same_v<T, double>) return f64;
    }();
    return rows ? layouts.rows : layouts.planes;
  }
  template <class A>
  const NormCombine<A>& combine() const {
    if constexpr (std::is_same_v<A, float>) return combine_f32;
    if constexpr (std::is_same_v<A, double>) return combine_f64;
  }
};
SACCADE_KERNELS(BatchNormKernels, batch_norm_kernels)

}  // namespace saccade
