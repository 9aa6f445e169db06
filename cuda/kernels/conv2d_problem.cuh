// The convolutions as products of matrices that are read in place (conv2d_gemm.cuh):
//   GatherArguments: result pixels x channels, summed over taps and channels of the source. The convolution itself, and
//     the gradient of its input: a pixel of the input gathers from the results that it went into.
//   WeightArguments: taps and channels of the input x output channels, summed over a chunk of the result's pixels.
// One factor is the image, read at the sum of two places, that of the row and that of the depth; the other one is
// `b` + column * b_step of the depth.
#pragma once

#include "cuda/common/epilogue.cuh"
#include "cuda/common/launch.cuh"
#include "cuda/kernels/conv2d.h"

namespace saccade::cuda {

// Where images have element (image, channel, pixel): in a contiguous tensor or in a channels_last one.
struct ImageLayout {
  std::int64_t image, channel, pixel;
};
inline ImageLayout image_layout(std::int64_t channels, std::int64_t pixels, bool channels_last) {
  if (channels_last) return {channels * pixels, 1, channels};
  return {channels * pixels, pixels, 1};
}

// 64-bit division is several times as slow as 32-bit division.
__device__ inline std::int64_t quotient(std::int64_t a, std::int64_t b) {
  if (((a | b) >> 32) == 0) return static_cast<unsigned>(a) / static_cast<unsigned>(b);
  return a / b;
}

// Part of an address; two parts make one: their sum. A part with y = kNowhere makes it lie outside.
struct Place {
  std::int64_t offset, y, x;
};
constexpr std::int64_t kNowhere = -(std::int64_t{1} << 40);

template <class T>
struct Image {
  const T* data;
  std::int64_t h, w, pixel;  // of ImageLayout

  // From `offset` y rows and x columns on.
  __device__ Place place(std::int64_t offset, std::int64_t y, std::int64_t x) const {
    return {offset + (y * w + x) * pixel, y, x};
  }
  // The element at the sum of two places, -1 outside.
  __device__ std::int64_t index(const Place& a, const Place& b) const {
    const bool inside = static_cast<std::uint64_t>(a.y + b.y) < static_cast<std::uint64_t>(h) &&
                        static_cast<std::uint64_t>(a.x + b.x) < static_cast<std::uint64_t>(w);
    return inside ? a.offset + b.offset : -1;
  }
};

// A step of the depth.
struct Depth {
  Place place;
  std::int64_t b;  // -1: behind the end
};

// One axis of a gather, for one class of the target's cells: cell u of it, which is cell first + u * every, sums over
// `taps` taps, of which t is tap first_tap + t * tap_every of the kernel and reads source cell start + u * step + t *
// tap_step. The convolution has one class; the gradient of its input one for each remainder of the cells by the stride,
// so that no tap falls between results.
struct AxisClass {
  std::int64_t cells, first, every, taps, first_tap, tap_every, start, step, tap_step;
};

__device__ inline AxisClass axis_class(const WindowAxis& axis, bool for_gradient, std::int64_t remainder) {
  if (!for_gradient) return {axis.out, 0, 1, axis.kernel, 0, 1, -axis.padding, axis.stride, axis.dilation};
  std::int64_t common = axis.stride;
  for (std::int64_t rest = axis.dilation; rest != 0;) {
    const std::int64_t next = common % rest;
    common = rest, rest = next;
  }
  // Cell y meets tap i of result (y + padding - i * dilation) / stride where that is a whole number.
  const std::int64_t every = axis.stride / common, last = every < axis.kernel ? every : axis.kernel;
  std::int64_t i = 0, start = remainder + axis.padding;
  while (i < last && start % axis.stride != 0) ++i, start -= axis.dilation;
  const std::int64_t taps = i < last ? (axis.kernel - i + every - 1) / every : 0;
  return {(axis.in - remainder + axis.stride - 1) / axis.stride,
          remainder,
          axis.stride,
          taps,
          i,
          every,
          start / axis.stride,
          1,
          -(axis.dilation / common)};
}

// Where tiles would be mostly empty (depthwise, groups of few channels), a thread owns a result instead.
inline bool is_direct(const ConvShape& shape) { return shape.group_channels() * shape.group_out_channels() <= 64; }

// What follows the sums of a channel.
template <class T>
struct TailChannel {
  using A = decltype(to_float(T{}));
  A bias, scale, shift;

  __device__ T finish(const ConvTail<T>& tail, std::int64_t at, A sum) const {
    A y = std::fma(sum + bias, scale, shift);
    if (tail.residual) y += to_float(tail.residual[at]);
    return from_float<T>(activated(tail.activation, y));
  }
};
template <class T>
__device__ TailChannel<T> tail_channel(const ConvTail<T>& tail, std::int64_t k) {
  using A = decltype(to_float(T{}));
  return {static_cast<A>(parameter_at<T, A>(tail.bias, k, 0)), static_cast<A>(parameter_at<T, A>(tail.scale, k, 1)),
          static_cast<A>(parameter_at<T, A>(tail.shift, k, 0))};
}

// ---- Result pixels x channels ---------------------------------------------------------------------------------------

template <class T>
struct GatherArguments {
  using Type = T;
  using Accumulator = decltype(to_float(T{}));
  struct Problem;

  Image<T> image;  // the source
  const T* b;      // packed weights
  T* out;          // the target
  WindowAxis y, x;
  bool for_gradient;
  std::int64_t images, groups, depth, width, target_w;  // source channels of a group, target channels of a group
  ImageLayout source, target;
  ConvTail<T> tail;
  std::int64_t m_tiles, n_tiles, classes_x;

  __device__ Problem problem(std::int64_t block, int tile_m, int tile_n) const;
  __device__ std::int64_t b_step() const { return 1; }
};

template <class T>
struct GatherArguments<T>::Problem {
  AxisClass y, x;
  std::int64_t group, m0, n0, rows, columns, begin, end;

  __device__ Place row(const GatherArguments& of, std::int64_t m, std::int64_t& out) const {
    if (m >= rows) return {0, kNowhere, 0};
    const std::int64_t line = quotient(m, x.cells), column = m - line * x.cells;
    const std::int64_t image = quotient(line, y.cells), u = line - image * y.cells;
    out = image * of.target.image +
          ((y.first + u * y.every) * of.target_w + x.first + column * x.every) * of.target.pixel;
    return of.image.place(image * of.source.image, y.start + u * y.step, x.start + column * x.step);
  }

  __device__ Depth step(const GatherArguments& of, std::int64_t k) const {
    if (k >= end) return {{0, kNowhere, 0}, -1};
    const std::int64_t tap = quotient(k, of.depth), channel = k - tap * of.depth;
    const std::int64_t i = quotient(tap, x.taps), j = tap - i * x.taps;
    const std::int64_t tap_of_kernel = (y.first_tap + i * y.tap_every) * of.x.kernel + x.first_tap + j * x.tap_every;
    return {of.image.place((group * of.depth + channel) * of.source.channel, i * y.tap_step, j * x.tap_step),
            ((tap_of_kernel * of.depth + channel) * of.groups + group) * of.width};
  }

  struct Column {
    std::int64_t offset;
    TailChannel<T> tail;
  };
  __device__ Column column(const GatherArguments& of, std::int64_t n) const {
    const std::int64_t k = group * of.width + n;
    return {k * of.target.channel, tail_channel(of.tail, k)};
  }
  __device__ void write(const GatherArguments& of, std::int64_t row, const Column& column, Accumulator sum) const {
    const std::int64_t at = row + column.offset;
    of.out[at] = column.tail.finish(of.tail, at, sum);
  }
};

template <class T>
__device__ typename GatherArguments<T>::Problem GatherArguments<T>::problem(std::int64_t block, int tile_m,
                                                                            int tile_n) const {
  const std::int64_t m = block % m_tiles, n = block / m_tiles % n_tiles, rest = block / m_tiles / n_tiles;
  const std::int64_t group = rest % groups, remainder = rest / groups;
  const AxisClass y_class = axis_class(y, for_gradient, remainder / classes_x);
  const AxisClass x_class = axis_class(x, for_gradient, remainder % classes_x);
  return {y_class,    x_class,    group,
          m * tile_m, n * tile_n, images * y_class.cells * x_class.cells,
          width,      0,          y_class.taps * x_class.taps * depth};
}

// ---- Taps and channels x output channels, a chunk of the pixels
// ------------------------------------------------------

template <class T>
struct WeightArguments {
  using Type = T;
  using Accumulator = decltype(to_float(T{}));
  struct Problem;

  Image<T> image;    // the input
  const T* b;        // the gradient of the result
  Accumulator* out;  // (chunks, kernel_h, kernel_w, C / groups, out_channels)
  ConvShape shape;
  std::int64_t depth, width;  // input and output channels of a group
  ImageLayout input, grad;
  NormChunks chunks;
  std::int64_t m_tiles, n_tiles;

  __device__ Problem problem(std::int64_t block, int tile_m, int tile_n) const;
  __device__ std::int64_t b_step() const { return grad.channel; }
};

template <class T>
struct WeightArguments<T>::Problem {
  std::int64_t group, m0, n0, rows, columns, begin, end, out;

  __device__ Place row(const WeightArguments& of, std::int64_t m, std::int64_t& row_out) const {
    if (m >= rows) return {0, kNowhere, 0};
    const std::int64_t tap = quotient(m, of.depth), channel = m - tap * of.depth;
    const std::int64_t i = quotient(tap, of.shape.x.kernel), j = tap - i * of.shape.x.kernel;
    row_out = out + m * of.shape.out_channels;
    return of.image.place((group * of.depth + channel) * of.input.channel, i * of.shape.y.dilation,
                          j * of.shape.x.dilation);
  }

  __device__ Depth step(const WeightArguments& of, std::int64_t k) const {
    if (k >= end) return {{0, kNowhere, 0}, -1};
    const std::int64_t line = quotient(k, of.shape.x.out), q = k - line * of.shape.x.out;
    const std::int64_t image = quotient(line, of.shape.y.out), p = line - image * of.shape.y.out;
    return {of.image.place(image * of.input.image, window_start(of.shape.y, p), window_start(of.shape.x, q)),
            image * of.grad.image + (p * of.shape.x.out + q) * of.grad.pixel + group * of.width * of.grad.channel};
  }

  struct Column {
    std::int64_t offset;
  };
  __device__ Column column(const WeightArguments& of, std::int64_t n) const { return {group * of.width + n}; }
  __device__ void write(const WeightArguments& of, std::int64_t row, const Column& column, Accumulator sum) const {
    of.out[row + column.offset] = sum;
  }
};

template <class T>
__device__ typename WeightArguments<T>::Problem WeightArguments<T>::problem(std::int64_t block, int tile_m,
                                                                            int tile_n) const {
  const std::int64_t m = block % m_tiles, n = block / m_tiles % n_tiles, rest = block / m_tiles / n_tiles;
  const std::int64_t chunk = rest / shape.groups, rows = shape.taps() * depth;
  const std::int64_t pixels = shape.images * shape.y.out * shape.x.out, begin = chunk * chunks.step;
  const std::int64_t end = begin + chunks.step;
  return {rest % shape.groups,
          m * tile_m,
          n * tile_n,
          rows,
          width,
          begin,
          end < pixels ? end : pixels,
          chunk * rows * shape.out_channels};
}

}  // namespace saccade::cuda
