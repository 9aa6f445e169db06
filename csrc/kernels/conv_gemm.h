// Kernels that every convolution is made of (csrc/ops/conv2d.h): a small matrix product, what brings its operands into
// order, and what turns its sums into outputs.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "isa/isa.h"
#include "math/activation.h"
#include "math/conv2d.h"

namespace saccade {

constexpr std::int64_t kConvRows = 6;          // rows of a tile, at most
constexpr std::int64_t kConvMostColumns = 64;  // columns of a panel, at most

template <class T>
struct ConvFinish;

// sums[r][j] (+)= sum over t, k of row(t, r)[k * step] * panel[(t * depth + k) * panel_step + j], where row(t, r) is
// rows[t * count + r] or, with `offsets`, rows[r] + offsets[t]. With `finish`
// they go straight into its outputs, as finish_rows would bring them there (its `sums` is not read).
template <class E>
struct ConvTile {
  using A = std::conditional_t<std::is_same_v<E, double>, double, float>;
  const E* const* rows;
  std::int64_t count, taps, depth, step;
  const A* panel;
  std::int64_t pitch;                     // a multiple of a register's lanes
  bool accumulate;                        // whether sums hold a part already
  A* sums;                                // [count][pitch]
  const ConvFinish<E>* finish = nullptr;  // of rows; activation none or ReLU
  const std::int64_t* offsets = nullptr;
  std::int64_t panel_step = pitch;
  std::int64_t ahead = 0;  // how far behind each row a later tile's lies, which is asked for beforehand; 0: none
};

// activation(sums * scale + shift + residual), scale and shift for each column or for each row.
template <class T>
struct ConvFinish {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const A* sums;
  std::int64_t pitch, count, columns;
  const A *scale, *shift;
  const T* const* residual;    // [count], or null
  T* const* out;               // [count]
  const std::int64_t* places;  // of the columns of planes; null where they are neighbours
  Activation activation;
  bool far = false;  // whether outputs and residual may lie in no cache: to be asked for beforehand
};

template <class T>
struct ConvGemmFunctions {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  void (*multiply)(const ConvTile<A>& tile);
  void (*multiply_strided)(const ConvTile<A>& tile);
  void (*finish_rows)(const ConvFinish<T>& finish);    // scale, shift: [columns]
  void (*finish_planes)(const ConvFinish<T>& finish);  // scale, shift: [count]
  // to[n * pitch + i] = source[n * step + i % length + i / length * run_step] for n < count, i < runs * length. Reads
  // and writes whole registers, past the ends of runs.
  void (*gather_runs)(const A* source, std::int64_t step, std::int64_t count, std::int64_t run_step, std::int64_t runs,
                      std::int64_t length, A* to, std::int64_t pitch);
  // Channels [0, depth) of one pixel that lie `step` apart.
  void (*copy_pixel)(const T* source, std::int64_t step, std::int64_t depth, A* to);
  // panel[k][n] = weight[n * n_step + k * k_step] for n < columns, zero for columns <= n < pitch.
  void (*pack)(const T* weight, std::int64_t n_step, std::int64_t k_step, std::int64_t columns, std::int64_t depth,
               std::int64_t pitch, A* panel);
  std::int64_t columns, lanes;  // of a panel, of a register
};

struct ConvGemmKernels {
  ConvGemmFunctions<Float16> f16;
  ConvGemmFunctions<BFloat16> bf16;
  ConvGemmFunctions<float> f32;
  ConvGemmFunctions<double> f64;

  template <class T>
  const ConvGemmFunctions<T>& get() const {
    if constexpr (std::is_same_v<T, Float16>) return f16;
    if constexpr (std::is_same_v<T, BFloat16>) return bf16;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(ConvGemmKernels, conv_gemm_kernels)

}  // namespace saccade
