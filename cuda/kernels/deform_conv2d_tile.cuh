// What the kernels of deformable convolution share: where samples lie, and a product of tiles.
#pragma once

#include "cuda/common/launch.cuh"
#include "cuda/kernels/conv2d_problem.cuh"
#include "cuda/kernels/deform_conv2d.h"
#include "math/half.h"

namespace saccade::cuda {

constexpr int kDeformThreads = 256;

template <class T>
struct DeformView {
  using A = decltype(to_float(T{}));

  DeformShape shape;
  DeformData<T> data;
  ImageLayout input, offset, mask;

  DeformView(const DeformShape& of, const DeformData<T>& tensors)
      : shape(of),
        data(tensors),
        input(image_layout(of.conv.channels, of.cells(), tensors.input_last)),
        offset(image_layout(2 * of.offset_groups * of.conv.taps(), of.results(), tensors.offset_last)),
        mask(image_layout(of.offset_groups * of.conv.taps(), of.results(), tensors.mask_last)) {}

  __device__ std::int64_t offset_at(std::int64_t image, std::int64_t g, std::int64_t t, std::int64_t r) const {
    return image * offset.image + 2 * (g * shape.conv.taps() + t) * offset.channel + r * offset.pixel;
  }
  __device__ std::int64_t mask_at(std::int64_t image, std::int64_t g, std::int64_t t, std::int64_t r) const {
    return image * mask.image + (g * shape.conv.taps() + t) * mask.channel + r * mask.pixel;
  }
  __device__ A mask_of(std::int64_t image, std::int64_t g, std::int64_t t, std::int64_t r) const {
    return data.mask ? to_float(data.mask[mask_at(image, g, t, r)]) : A(1);
  }
  __device__ BilinearPoint<A> point(std::int64_t image, std::int64_t g, std::int64_t t, std::int64_t r) const {
    const ConvShape& conv = shape.conv;
    const std::int64_t p = quotient(r, conv.x.out), i = quotient(t, conv.x.kernel), at = offset_at(image, g, t, r);
    const A y = deformed_position<A>(conv.y, p, i, to_float(data.offset[at]));
    const A x = deformed_position<A>(conv.x, r - p * conv.x.out, t - i * conv.x.kernel,
                                     to_float(data.offset[at + offset.channel]));
    return bilinear_point(y, x, conv.y.in, conv.x.in);
  }
  // Of channel 0 at the corner above and left of a point; may lie outside.
  __device__ std::int64_t cell(std::int64_t image, const BilinearPoint<A>& point) const {
    return image * input.image + (point.y * shape.conv.x.in + point.x) * input.pixel;
  }
  __device__ std::int64_t corner(int k) const { return ((k / 2) * shape.conv.x.in + k % 2) * input.pixel; }
};

// A sample's corners and their weights, the mask included; one for all channels of an offset group.
template <class A>
struct DeformSample {
  std::int64_t cell;
  A weight[4];
  unsigned corners;
};
template <class T, class A = decltype(to_float(T{}))>
__device__ DeformSample<A> deform_sample(const DeformView<T>& view, std::int64_t image, std::int64_t g, std::int64_t t,
                                         std::int64_t r) {
  const BilinearPoint<A> point = view.point(image, g, t, r);
  const A mask = view.mask_of(image, g, t, r);
  DeformSample<A> sample = {view.cell(image, point), {}, point.inside ? point.corners : 0};
  for (int k = 0; k < 4; ++k) sample.weight[k] = mask * corner_weight(point, k);
  if (sample.corners == 0) sample.weight[0] = mask * A(0);  // NaN where the mask is not finite
  return sample;
}
template <class T, class A>
__device__ A deform_value(const DeformView<T>& view, const DeformSample<A>& sample, std::int64_t channel) {
  if (sample.corners == 0) return sample.weight[0];
  A sum = 0;
  for (int k = 0; k < 4; ++k) {
    if ((sample.corners >> k & 1u) == 0) continue;
    const std::int64_t at = sample.cell + view.corner(k) + channel * view.input.channel;
    sum = std::fma(sample.weight[k], A(to_float(view.data.input[at])), sum);
  }
  return sum;
}

// The sums of a block of 256 threads: kM rows by kN columns, 4 x 4 for each thread, kK steps of the depth at a time.
template <class A>
struct DeformTile {
  static constexpr int kM = 64, kN = 64, kK = sizeof(A) == 8 ? 8 : 16;
  struct Storage {
    alignas(16) A a[kK][kM + 4];
    alignas(16) A b[kK][kN + 4];
  };

  A sums[4][4] = {};

  // columns_first: neighbouring threads own neighbouring columns, not rows.
  __device__ static int row(bool columns_first) {
    return 4 * static_cast<int>(columns_first ? threadIdx.x / 16 : threadIdx.x % 16);
  }
  __device__ static int column(bool columns_first) {
    return 4 * static_cast<int>(columns_first ? threadIdx.x % 16 : threadIdx.x / 16);
  }

  // Adds a(m, k) * b(k, n) for k < kK. along_depth: whether neighbours in memory are neighbours in k.
  template <class LoadA, class LoadB>
  __device__ void add(Storage& storage, bool columns_first, bool a_along_depth, const LoadA& load_a,
                      const LoadB& load_b) {
    for (int i = static_cast<int>(threadIdx.x); i < kM * kK; i += kDeformThreads) {
      const int m = a_along_depth ? i / kK : i % kM, k = a_along_depth ? i % kK : i / kM;
      storage.a[k][m] = load_a(m, k);
    }
    for (int i = static_cast<int>(threadIdx.x); i < kN * kK; i += kDeformThreads)
      storage.b[i / kN][i % kN] = load_b(i / kN, i % kN);
    __syncthreads();
    const int first_row = row(columns_first), first_column = column(columns_first);
#pragma unroll
    for (int k = 0; k < kK; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j)
          sums[i][j] = std::fma(storage.a[k][first_row + i], storage.b[k][first_column + j], sums[i][j]);
      }
    }
    __syncthreads();
  }

  // emit(m, n, sum) for the sums of this thread.
  template <class Emit>
  __device__ void finish(bool columns_first, const Emit& emit) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) emit(row(columns_first) + i, column(columns_first) + j, sums[i][j]);
    }
  }
};

}  // namespace saccade::cuda
