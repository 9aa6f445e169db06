// Kernels of integral_image (csrc/ops/integral_image.h).
#pragma once

#include <cstdint>

#include "isa/isa.h"

namespace saccade {

// Rows of a uint8 image. Pointers are at the first pixel and its sum; strides are elements from one row to the next,
// columns are adjacent.
template <class Q>
struct IntegralRows {
  const std::uint8_t* image;
  std::int64_t image_stride;
  std::int32_t* sum;
  std::int64_t sum_stride;
  Q* square;  // null: no squares
  std::int64_t square_stride;
  std::int64_t height, width;
  // The row of sums above the first; null: zeros.
  const std::int32_t* sum_above;
  const Q* square_above;
  bool zero_column;  // also store a zero before the first column
};

// Columns of an image of another type, all its rows: floats add up in one order only.
template <class T, class S>
struct IntegralColumns {
  const T* image;
  std::int64_t image_stride;
  S* sum;
  double* square;  // null: no squares
  std::int64_t stride;
  std::int64_t height, width;
  // What the columns to the left add up to, row by row; null: zeros.
  const S* sum_left;
  const double* square_left;
  bool zero_column;
};

// The tilted sums of a uint8 image.
struct TiltedRows {
  const std::uint8_t* image;
  std::int64_t image_stride;
  std::int32_t* tilted;
  std::int64_t tilted_stride;
  std::int64_t height, width;
  const std::int32_t* zeros;  // width elements: what lies above the image
  bool padded;                // there is a column before the first
};

// Those of an image of another type.
template <class T, class S>
struct TiltedArgs {
  const T* image;
  std::int64_t image_stride;
  S* tilted;
  std::int64_t tilted_stride;
  std::int64_t height, width;
  // Zeros, height + width elements each: sums along the diagonals, indexed by the diagonal.
  S* down_right;
  S* down_left;
  const S* zeros;  // width elements: what lies above the image
  bool padded;     // there is a column before the first
};

struct IntegralKernels {
  void (*u8)(const IntegralRows<double>&);
  void (*u8_mod32)(const IntegralRows<std::uint32_t>&);
  // Adds `height` rows to sum[x], and their squares to square[x] where not null.
  void (*u8_above)(const std::uint8_t* image, std::int64_t stride, std::int64_t height, std::int64_t width,
                   std::uint32_t* sum, double* square);
};
SACCADE_KERNELS(IntegralKernels, integral_kernels)

template <class T, class S>
struct ColumnKernels {
  void (*columns)(const IntegralColumns<T, S>&);
  // Adds `width` columns to sum[y], and their squares to square[y] where not null.
  void (*left)(const T* image, std::int64_t stride, std::int64_t height, std::int64_t width, S* sum, double* square);
  void (*tilted)(const TiltedArgs<T, S>&);
};

struct IntegralTiltedKernels {
  void (*u8)(const TiltedRows&);
};
SACCADE_KERNELS(IntegralTiltedKernels, integral_tilted_kernels)

struct IntegralColumnKernels {
  ColumnKernels<std::int32_t, std::int64_t> i32;
  ColumnKernels<float, double> f32;
  ColumnKernels<double, double> f64;
};
SACCADE_KERNELS(IntegralColumnKernels, integral_column_kernels)

}  // namespace saccade
