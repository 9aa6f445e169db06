// conv2d (csrc/ops/conv2d.h).
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/common/channel_parameter.h"
#include "cuda/kernels/batch_norm.h"
#include "math/activation.h"
#include "math/conv2d.h"

namespace saccade::cuda {

// What follows the sum.
template <class T>
struct ConvTail {
  ChannelParameter bias, scale, shift;
  const T* residual = nullptr;  // laid out as the result
  Activation activation = Activation::kNone;
};

// The kernels' layout of a weight (out_channels, C / groups, kernel_h, kernel_w): (kernel_h, kernel_w, C / groups,
// out_channels), and (kernel_h, kernel_w, out_channels / groups, C) for the gradient of the input.
template <class T>
void launch_conv2d_pack(const ConvShape& shape, const T* weight, bool for_gradient, T* packed, cudaStream_t stream);

// Images and their gradients all contiguous or all channels_last.
template <class T>
void launch_conv2d(const ConvShape& shape, bool channels_last, const T* input, const T* packed, const ConvTail<T>& tail,
                   T* out, cudaStream_t stream);

// The tail, which a gradient has none of, is conv_transpose2d's, whose forward this is.
template <class T>
void launch_conv2d_backward_input(const ConvShape& shape, bool channels_last, const T* grad, const T* packed,
                                  const ConvTail<T>& tail, T* grad_input, cudaStream_t stream);

// How sums over all output pixels are cut, by the shape alone. partials: chunks times the elements of the result.
NormChunks conv2d_weight_chunks(const ConvShape& shape, bool channels_last);
NormChunks conv2d_bias_chunks(const ConvShape& shape, bool channels_last);

template <class T, class A>
void launch_conv2d_backward_weight(const ConvShape& shape, bool channels_last, const T* grad, const T* input,
                                   A* partials, T* grad_weight, cudaStream_t stream);

template <class T, class A>
void launch_conv2d_backward_bias(const ConvShape& shape, bool channels_last, const T* grad, A* partials, T* grad_bias,
                                 cudaStream_t stream);

}  // namespace saccade::cuda
