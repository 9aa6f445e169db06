// Work items of several images in one launch: a thread looks up whose its item is.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace saccade::cuda {

// The place that holds an item: the last of `count` whose `first` is at most the index. They ascend from 0.
template <auto first, class Place>
__device__ const Place& place_of(const Place* places, std::int64_t count, std::int64_t index) {
  std::int64_t low = 0, high = count;
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    (places[middle].*first <= index ? low : high) = middle;
  }
  return places[low];
}

struct Split {
  std::int64_t quotient, rest;
};

// Of numbers that are not negative; a division of 64 bits takes several times as long as one of 32.
__device__ inline Split split(std::int64_t value, std::int64_t by) {
  if (((value | by) >> 32) == 0) {
    const auto v = static_cast<std::uint32_t>(value), d = static_cast<std::uint32_t>(by), quotient = v / d;
    return {quotient, v - quotient * d};
  }
  return {value / by, value % by};
}

}  // namespace saccade::cuda
