// What a thread per channel does, in double: chunks are combined in order, and what the elements need is written.
#pragma once

#include <cmath>

#include "cuda/common/epilogue.cuh"
#include "cuda/kernels/batch_norm.h"

namespace saccade::cuda {

struct Moments {
  double mean, squares;  // squares: the sum of the squared deviations from the mean
};

template <class A>
__device__ Moments combined_moments(const NormShape& shape, const NormChunks& chunks, const A* partials,
                                    std::int64_t c) {
  double count = 0, center = 0, spread = 0;
  for (std::int64_t k = 0; k < chunks.chunks; ++k) {
    const A* partial = partials + k * 3 * shape.channels + c;
    const std::int64_t left = shape.count - k * chunks.step;
    const double n = static_cast<double>(left < chunks.step ? left : chunks.step), total = count + n;
    const double sum = partial[shape.channels], share = sum / n, delta = partial[0] + share - center;
    spread += partial[2 * shape.channels] - sum * share + delta * delta * (count * n / total);
    center += delta * (n / total);
    count = total;
  }
  return {center, spread};
}

// out = (x - mean[c]) * scales[c] + scales[channels + c]: the mean is rounded, the shift makes up for it.
template <class T, class A>
__device__ void write_scales(std::int64_t channels, std::int64_t c, double mean, double var,
                             const ChannelParameter& weight, const ChannelParameter& bias, double eps, A* means,
                             A* scales) {
  const double scale = parameter_at<T, A>(weight, c, 1) / std::sqrt(var + eps);
  const A rounded = static_cast<A>(mean);
  const double left = mean - mean == 0 ? (rounded - mean) * scale : 0.0;  // 0 where it is not finite
  means[c] = rounded;
  scales[c] = static_cast<A>(scale);
  scales[channels + c] = static_cast<A>(parameter_at<T, A>(bias, c, 0) + left);
}

struct GradientSums {
  double sum, product;  // of g, and of g times the normalised input
};

template <class A>
__device__ GradientSums combined_sums(const NormShape& shape, const NormChunks& chunks, const A* partials,
                                      std::int64_t c, double var, double eps) {
  GradientSums sums = {0, 0};
  for (std::int64_t k = 0; k < chunks.chunks; ++k) {
    sums.sum += partials[2 * k * shape.channels + c];
    sums.product += partials[(2 * k + 1) * shape.channels + c];
  }
  sums.product /= std::sqrt(var + eps);
  return sums;
}

// grad_x = g * scales[c] + (x - mean) * scales[channels + c] + scales[2 channels + c]; mean, mean_product: the sums
// divided by the count.
template <class T, class A>
__device__ void write_gradient_scales(std::int64_t channels, std::int64_t c, double mean, double mean_product,
                                      const ChannelParameter& weight, double var, double eps, A* scales) {
  const double inverse = 1 / std::sqrt(var + eps), scale = parameter_at<T, A>(weight, c, 1) * inverse;
  scales[c] = static_cast<A>(scale);
  scales[channels + c] = static_cast<A>(-scale * inverse * mean_product);
  scales[2 * channels + c] = static_cast<A>(-scale * mean);
}

}  // namespace saccade::cuda
