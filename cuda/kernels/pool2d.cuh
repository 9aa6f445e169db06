// Where the elements of pooling's tensors are: neighbouring threads own neighbouring elements in memory.
#pragma once

#include <cstdint>

#include "cuda/common/launch.cuh"

namespace saccade::cuda {

constexpr int kPoolThreads = 256;

// The place of element (row, column) of a (h, w) map in memory, and how far apart its elements are.
struct Element {
  std::int64_t base, stride, row, column;
};

// Element i of (images, channels, h, w) in memory order: its row, its column, and where its plane begins in a map of
// `cells` cells.
template <bool kLast>
__device__ Element split(std::int64_t i, std::int64_t channels, std::int64_t h, std::int64_t w, std::int64_t cells) {
  if constexpr (kLast) {
    const std::int64_t pixel = i / channels, image = pixel / (h * w);
    return {image * cells * channels + i % channels, channels, pixel / w % h, pixel % w};
  }
  return {i / (h * w) * cells, 1, i / w % h, i % w};
}

}  // namespace saccade::cuda
