// conv2d and the gradient of its input where groups have few channels: a thread owns a result, neighbouring threads
// own neighbours in memory. The taps are summed in row order, in each the channels of the group.
#pragma once

#include "cuda/kernels/conv2d_problem.cuh"

namespace saccade::cuda {

constexpr int kDirectThreads = 256;

struct Element {
  std::int64_t image, channel, y, x;
};

// Element i in memory order of (images, channels, h, w).
__device__ inline Element element_of(std::int64_t i, std::int64_t channels, std::int64_t h, std::int64_t w,
                                     bool channels_last) {
  const std::int64_t line = channels_last ? channels : w, outer = quotient(i, line), inner = i - outer * line;
  const std::int64_t second = channels_last ? w : h, third = channels_last ? h : channels;
  const std::int64_t before = quotient(outer, second), middle = outer - before * second;
  const std::int64_t image = quotient(before, third), last = before - image * third;
  if (channels_last) return {image, inner, last, middle};
  return {image, last, middle, inner};
}

template <class T>
__global__ void __launch_bounds__(kDirectThreads)
    conv2d_direct_kernel(ConvShape shape, bool channels_last, ImageLayout in, std::int64_t count, const T* input,
                         const T* packed, ConvTail<T> tail, T* out) {
  const std::int64_t i = thread_index();
  if (i >= count) return;
  const Element at = element_of(i, shape.out_channels, shape.y.out, shape.x.out, channels_last);
  const WindowRange rows = taps_inside(shape.y, at.y), columns = taps_inside(shape.x, at.x);
  const std::int64_t depth = shape.group_channels();
  const T* first = input + at.image * in.image + quotient(at.channel, shape.group_out_channels()) * depth * in.channel;
  decltype(to_float(T{})) sum = 0;
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    const std::int64_t y = window_start(shape.y, at.y) + r * shape.y.dilation;
    for (std::int64_t s = columns.begin; s < columns.end; ++s) {
      const std::int64_t x = window_start(shape.x, at.x) + s * shape.x.dilation;
      const T* cell = first + (y * shape.x.in + x) * in.pixel;
      const T* weight = packed + (r * shape.x.kernel + s) * depth * shape.out_channels + at.channel;
      for (std::int64_t c = 0; c < depth; ++c)
        sum = std::fma(to_float(cell[c * in.channel]), to_float(weight[c * shape.out_channels]), sum);
    }
  }
  out[i] = tail_channel(tail, at.channel).finish(tail, i, sum);
}

// The result that cell y went into by tap i, -1 where there is none.
__device__ inline std::int64_t window_of(const WindowAxis& axis, std::int64_t y, std::int64_t i) {
  const std::int64_t start = y + axis.padding - i * axis.dilation;
  if (start < 0) return -1;
  const std::int64_t p = quotient(start, axis.stride);
  return p * axis.stride == start && p < axis.out ? p : -1;
}

template <class T>
__global__ void __launch_bounds__(kDirectThreads)
    conv2d_direct_backward_kernel(ConvShape shape, bool channels_last, ImageLayout result, std::int64_t count,
                                  const T* grad, const T* packed, ConvTail<T> tail, T* grad_input) {
  const std::int64_t i = thread_index();
  if (i >= count) return;
  const Element at = element_of(i, shape.channels, shape.y.in, shape.x.in, channels_last);
  const std::int64_t depth = shape.group_out_channels();
  const T* first =
      grad + at.image * result.image + quotient(at.channel, shape.group_channels()) * depth * result.channel;
  decltype(to_float(T{})) sum = 0;
  for (std::int64_t r = 0; r < shape.y.kernel; ++r) {
    const std::int64_t p = window_of(shape.y, at.y, r);
    if (p < 0) continue;
    for (std::int64_t s = 0; s < shape.x.kernel; ++s) {
      const std::int64_t q = window_of(shape.x, at.x, s);
      if (q < 0) continue;
      const T* cell = first + (p * shape.x.out + q) * result.pixel;
      const T* weight = packed + (r * shape.x.kernel + s) * depth * shape.channels + at.channel;
      for (std::int64_t k = 0; k < depth; ++k)
        sum = std::fma(to_float(cell[k * result.channel]), to_float(weight[k * shape.channels]), sum);
    }
  }
  grad_input[i] = tail_channel(tail, at.channel).finish(tail, i, sum);
}

}  // namespace saccade::cuda
