// Operators that work on both memory formats: channels_last in, channels_last out.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "bind_torch/tensor.h"
#include "ops/checks.h"

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

// An output that the caller brings: of the sizes and the format, and of the dtype and the device of `like`.
inline void require_output(const char* op, const Tensor& out, std::initializer_list<std::int64_t> sizes,
                           MemoryFormat format, const Tensor& like) {
  const TensorView seen = view(out);
  require_shape(op, "out", seen, "of the result", sizes);
  require_same_dtype(op, "out", seen, "input", view(like));
  require_same_device(op, "out", seen, "input", view(like));
  const bool last = format == MemoryFormat::ChannelsLast;
  require(last ? seen.is_channels_last() : seen.is_contiguous(), op, ": out must be ",
          last ? "channels_last" : "contiguous", ", as input is");
}

}  // namespace saccade::bind_torch
