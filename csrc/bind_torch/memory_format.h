// Operators that work on both memory formats: channels_last in, channels_last out.
#pragma once

#include <cstdint>
#include <vector>

#include "bind_torch/tensor.h"

namespace saccade::bind_torch {

// channels_last where the tensor is that and not contiguous too. Python says the same for the fake kernels
// (saccade.ops._roi.memory_format).
inline MemoryFormat format_of(const Tensor& tensor) {
  const TensorView seen = view(tensor);
  return seen.is_channels_last() && !seen.is_contiguous() ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
}

// The tensor itself where its elements lie so, else a copy; anything but 4 dimensions is left for the checks to refuse.
inline Tensor in_format(const Tensor& tensor, MemoryFormat format) {
  if (tensor.dim() != 4) return tensor;
  const TensorView seen = view(tensor);
  const bool fits = format == MemoryFormat::ChannelsLast ? seen.is_channels_last() : seen.is_contiguous();
  return fits ? tensor : torch::stable::contiguous(tensor, format);
}

}  // namespace saccade::bind_torch
