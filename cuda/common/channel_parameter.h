// Parameters with an element per channel.
#pragma once

#include <cstdint>
#include <optional>

#include "common/tensor_view.h"

namespace saccade::cuda {

// Of the input's type or of the accumulator's; data is null where it is absent.
struct ChannelParameter {
  const void* data = nullptr;
  std::int64_t stride = 0;
  bool is_input_type = false;
};

inline ChannelParameter channel_parameter(const std::optional<TensorView>& tensor, const TensorView& input) {
  if (!tensor) return {};
  return {tensor->data, tensor->stride(0), tensor->dtype == input.dtype};
}

}  // namespace saccade::cuda
