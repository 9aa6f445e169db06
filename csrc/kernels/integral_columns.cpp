// Integral images of other types than uint8, and tilted ones (Lienhart and Maydt 2002) of every type.
//
// A row's sum is one chain of additions from left to right and a column's one from the top, so that floats equal
// np.cumsum(np.cumsum(image, 1), 0) bit for bit, wherever threads cut. Four rows hide the latency of the chain: one
// pixel a cycle and less, which is what the memory takes in.
#include "isa/simd.h"
#include "kernels/integral_image.h"

namespace saccade::SACCADE_ISA {
namespace {

constexpr int kRows = 4;

// Integers wrap: added as unsigned.
template <class S>
SACCADE_HD S add(S a, S b) {
  if constexpr (std::is_integral_v<S>)
    return static_cast<S>(static_cast<std::make_unsigned_t<S>>(a) + static_cast<std::make_unsigned_t<S>>(b));
  else
    return a + b;
}

constexpr std::int64_t kChunk = 256;  // columns whose row sums wait in L1 for the sums from above

// One output of R rows by up to kChunk columns; value(pixel) is the pixel or its square.
template <int R, class T, class S, class Value>
SACCADE_HD void chunk(const T* image, std::int64_t image_stride, S* out, std::int64_t stride, bool first,
                      std::int64_t width, S (&left)[R], const Value& value) {
  S sums[R][kChunk];
  for (std::int64_t x = 0; x < width; ++x)
    for (int r = 0; r < R; ++r) {
      left[r] = add(left[r], value(image[r * image_stride + x]));
      sums[r][x] = left[r];
    }
  for (int r = 0; r < R; ++r) {
    S* SACCADE_RESTRICT to = out + r * stride;
    const S* SACCADE_RESTRICT above = to - stride;
    if (first && r == 0)
      for (std::int64_t x = 0; x < width; ++x) to[x] = sums[r][x];
    else
      for (std::int64_t x = 0; x < width; ++x) to[x] = add(above[x], sums[r][x]);
  }
}

template <int R, class T, class S>
void column_rows(const IntegralColumns<T, S>& a, std::int64_t y) {
  S left[R];
  double square_left[R];
  for (int r = 0; r < R; ++r) {
    left[r] = a.sum_left != nullptr ? a.sum_left[y + r] : S{};
    square_left[r] = a.square_left != nullptr ? a.square_left[y + r] : 0.0;
    if (a.zero_column) a.sum[(y + r) * a.stride - 1] = S{};
    if (a.zero_column && a.square != nullptr) a.square[(y + r) * a.stride - 1] = 0.0;
  }
  for (std::int64_t x = 0; x < a.width; x += kChunk) {
    const std::int64_t width = a.width - x < kChunk ? a.width - x : kChunk;
    const T* image = a.image + y * a.image_stride + x;
    const std::int64_t at = y * a.stride + x;
    chunk<R>(image, a.image_stride, a.sum + at, a.stride, y == 0, width, left, [](T p) { return static_cast<S>(p); });
    if (a.square != nullptr)
      chunk<R>(image, a.image_stride, a.square + at, a.stride, y == 0, width, square_left,
               [](T p) { return static_cast<double>(p) * static_cast<double>(p); });
  }
}

template <class T, class S>
void columns(const IntegralColumns<T, S>& a) {
  std::int64_t y = 0;
  for (; y + kRows <= a.height; y += kRows) column_rows<kRows>(a, y);
  for (; y < a.height; ++y) column_rows<1>(a, y);
}

template <class T, class S>
void left(const T* image, std::int64_t stride, std::int64_t height, std::int64_t width, S* sum, double* square) {
  for (std::int64_t y = 0; y < height; y += kRows) {
    const int rows = height - y < kRows ? static_cast<int>(height - y) : kRows;
    const T* row[kRows];
    S s[kRows];
    double q[kRows];
    for (int r = 0; r < kRows; ++r) {
      const std::int64_t i = y + (r < rows ? r : 0);
      row[r] = image + i * stride;
      s[r] = sum[i];
      q[r] = square != nullptr ? square[i] : 0.0;
    }
    for (std::int64_t x = 0; x < width; ++x)
      for (int r = 0; r < kRows; ++r) {
        s[r] = add(s[r], static_cast<S>(row[r][x]));
        if (square != nullptr) q[r] += static_cast<double>(row[r][x]) * static_cast<double>(row[r][x]);
      }
    for (int r = 0; r < rows; ++r) {
      sum[y + r] = s[r];
      if (square != nullptr) square[y + r] = q[r];
    }
  }
}

// ---- Tilted -------------------------------------------------------------------------------------------------------
// T(Y, X) sums the pixels (x, y) with y < Y and |x - (X - 1)| <= Y - 1 - y. From one row to the next it gains the two
// diagonals that end in the pixel (x, y) = (X - 1, Y - 1) above it:
//   T(Y, X) = T(Y - 1, X) + sum of I(y - k, x - k) over k >= 0 + sum of I(y - k, x + k) over k >= 1.
// A diagonal has one cell, at index x - y or x + y, that grows as rows pass: nothing is shifted, and a row is three
// independent streams. Nothing is subtracted either: an infinite pixel spoils only the sums that contain it.
template <class T, class S>
void tilted(const TiltedArgs<T, S>& a) {
  for (std::int64_t y = 0; y < a.height; ++y) {
    const T* SACCADE_RESTRICT image = a.image + y * a.image_stride;
    S* SACCADE_RESTRICT down_right = a.down_right + (a.height - 1 - y);
    S* SACCADE_RESTRICT down_left = a.down_left + y;
    S* SACCADE_RESTRICT out = a.tilted + y * a.tilted_stride;
    const S* SACCADE_RESTRICT above = y > 0 ? out - a.tilted_stride : a.zeros;
    // Column 0 of the padded layout: the pixel above it lies outside the image.
    if (a.padded) out[-1] = y > 0 ? add(above[-1], down_left[-1]) : S{};
    for (std::int64_t x = 0; x < a.width; ++x) {
      const S pixel = static_cast<S>(image[x]);
      down_right[x] = add(down_right[x], pixel);
      out[x] = add(add(above[x], down_right[x]), down_left[x]);
      down_left[x] = add(down_left[x], pixel);
    }
  }
}

}  // namespace

const IntegralColumnKernels integral_column_kernels = {
    {columns<std::int32_t, std::int64_t>, left<std::int32_t, std::int64_t>, tilted<std::int32_t, std::int64_t>},
    {columns<float, double>, left<float, double>, tilted<float, double>},
    {columns<double, double>, left<double, double>, tilted<double, double>},
};

}  // namespace saccade::SACCADE_ISA
