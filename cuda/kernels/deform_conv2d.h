// deform_conv2d (csrc/ops/deform_conv2d.h).
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/common/channel_parameter.h"
#include "math/deform_conv2d.h"

namespace saccade::cuda {

// The images and what moves and weighs their samples; each contiguous or channels_last.
template <class T>
struct DeformData {
  const T *input, *offset, *mask;  // mask: null for ones
  bool input_last, offset_last, mask_last;
};

// Results are laid out as the input. packed: the weight in the order of launch_conv2d_pack.
template <class T>
void launch_deform_conv2d(const DeformShape& shape, const DeformData<T>& data, const T* packed,
                          const ChannelParameter& bias, T* out, cudaStream_t stream);

template <class T>
void launch_deform_conv2d_backward_weight(const DeformShape& shape, const DeformData<T>& data, const T* grad,
                                          T* grad_weight, cudaStream_t stream);

// ---- Gradients of input, offset and mask: image by image, a block of one group's channels at a time

struct DeformChannels {
  std::int64_t image, first, count;
};

// columns[tap][result][channel]: the gradients of the block's samples. packed: launch_conv2d_pack for the gradient.
template <class T, class A>
void launch_deform_columns(const DeformShape& shape, const DeformChannels& block, bool grad_last, const T* grad,
                           const T* packed, A* columns, cudaStream_t stream);

// Adds to products[offset group, tap, result][corner]; after the last channels of an offset group these become the
// gradients of its offsets and mask, each laid out as what it belongs to, or null.
template <class T, class A>
void launch_deform_differentiate(const DeformShape& shape, const DeformData<T>& data, const DeformChannels& block,
                                 const A* columns, A* products, T* grad_offset, T* grad_mask, cudaStream_t stream);

// For every sample (image, offset group, tap, result) the corner above and left of it as a number below
// deform_corners(shape); that number itself where it has no cells.
constexpr std::int64_t deform_corners(const DeformShape& shape) {
  return shape.offset_groups * (shape.conv.y.in + 1) * (shape.conv.x.in + 1);
}
template <class T>
void launch_deform_corners(const DeformShape& shape, const DeformData<T>& data, std::int64_t* corners,
                           cudaStream_t stream);

// sorted, order: an image's corners in order, and where they stood; begins: deform_corners(shape) + 1, written.
void launch_deform_begins(const DeformShape& shape, const std::int64_t* sorted, std::int64_t* begins,
                          cudaStream_t stream);
template <class T, class A>
void launch_deform_gather(const DeformShape& shape, const DeformData<T>& data, const DeformChannels& block,
                          const A* columns, const std::int64_t* order, const std::int64_t* begins, T* grad_input,
                          cudaStream_t stream);

}  // namespace saccade::cuda
