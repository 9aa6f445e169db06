// The results of a transposed convolution along one axis, by their remainder modulo the stride.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "math/windows.h"

namespace saccade {

// The positions of one axis that share a remainder modulo the stride: first + p * stride. Tap i of the kernel reaches
// them from source cell p + offset; offsets ascend.
struct Phase {
  std::int64_t first;
  std::vector<std::int64_t> taps, offsets;

  std::int64_t count(const WindowAxis& axis) const { return (axis.in - first + axis.stride - 1) / axis.stride; }
};

// Those that a tap reaches, whatever the size of the image. There are no more of them than taps.
inline std::vector<Phase> phases_of(const WindowAxis& axis) {
  std::vector<Phase> phases;
  for (std::int64_t i = axis.kernel - 1; i >= 0; --i) {
    const std::int64_t remainder = (i * axis.dilation - axis.padding) % axis.stride;
    const std::int64_t first = remainder < 0 ? remainder + axis.stride : remainder;
    const auto same = [&](const Phase& phase) { return phase.first == first; };
    auto phase = std::find_if(phases.begin(), phases.end(), same);
    if (phase == phases.end()) phase = phases.insert(phases.end(), {first, {}, {}});
    phase->taps.push_back(i);
    phase->offsets.push_back((first + axis.padding - i * axis.dilation) / axis.stride);
  }
  return phases;
}

}  // namespace saccade
