// Kernels of convolutions over planes (csrc/ops/conv_planes.h).
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "isa/isa.h"
#include "kernels/conv_gemm.h"

namespace saccade {

constexpr std::int64_t kPlanesMostRegisters = 4;  // of a tile's columns

// sums[n][v * lanes + l] = sum over c, t of weights[n * depth + c * taps + t] *
//                          cells[c * plane + offsets[t] + columns[v] + l], depth = channels * taps
template <class A>
struct ConvPlanesTile {
  const A* weights;
  std::int64_t count, channels, taps;  // count: output channels, at most kConvRows
  const A* cells;
  std::int64_t plane;
  const std::int64_t *offsets, *columns;
  std::int64_t registers;
  A* sums;             // [count][pitch]
  std::int64_t pitch;  // registers, of kPlanesMostRegisters at most
  // What becomes of the sums at once, where columns are neighbours in the output too; activation none or ReLU, and its
  // `sums` is not read. Null: `sums` get them.
  const ConvFinish<A>* finish;
};

// One output channel, finished: activation(sums * scale + shift + residual), where columns[i] are the registers of all
// results, row by row, and the first lengths[i] lanes of each go to out + places[i].
template <class T>
struct ConvPlanesChannel {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const A* weights;
  std::int64_t channels, taps;
  const A* cells;
  std::int64_t plane;
  const std::int64_t *offsets, *columns, *places, *lengths;
  std::int64_t registers, per_row;
  std::int64_t square;  // of one channel with 3 x 3 neighbouring taps: how far rows are apart; 0: of any other
  A scale, shift;
  const T* residual;  // laid out as out, or null
  T* out;
  Activation activation;
};

// sums[n * pitch + j] += sum over images, i < length of grads[image * image_grads + n * grads_step + i] *
//                        cells[image * image_cells + places[j] + i]
template <class A>
struct ConvPlanesDots {
  std::int64_t images, image_grads, image_cells, length;  // length: a multiple of a register's lanes
  const A* grads;
  std::int64_t count, grads_step;  // output channels
  const A* cells;
  const std::int64_t* places;  // of pairs of a channel and a tap
  std::int64_t pairs;
  A* sums;
  std::int64_t pitch;
};

// Every step-th cell of rows `first_y`, first_y + step_y, ... of a plane, zeros outside it.
struct PlanePart {
  std::int64_t source_h, source_w, first_y, first_x, step_y, step_x, rows, columns;
};

template <class T>
struct ConvPlanesFunctions {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  void (*multiply)(const ConvPlanesTile<A>& tile);
  void (*channel)(const ConvPlanesChannel<T>& channel);
  void (*dots)(const ConvPlanesDots<A>& dots);
  void (*copy)(const T* plane, const PlanePart& part, A* to);  // [rows][columns]
  std::int64_t registers, lanes;                               // of a tile's columns, of a register
};

struct ConvPlanesKernels {
  ConvPlanesFunctions<Float16> f16;
  ConvPlanesFunctions<BFloat16> bf16;
  ConvPlanesFunctions<float> f32;
  ConvPlanesFunctions<double> f64;

  template <class T>
  const ConvPlanesFunctions<T>& get() const {
    if constexpr (std::is_same_v<T, Float16>) return f16;
    if constexpr (std::is_same_v<T, BFloat16>) return bf16;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
  }
};
SACCADE_KERNELS(ConvPlanesKernels, conv_planes_kernels)

}  // namespace saccade
