// The geometry of a 2-D convolution, for the kernels of both devices.
#pragma once

#include <cstdint>

#include "math/windows.h"

namespace saccade {

struct ConvShape {
  WindowAxis y, x;
  std::int64_t images, channels, out_channels, groups;

  constexpr std::int64_t group_channels() const { return channels / groups; }
  constexpr std::int64_t group_out_channels() const { return out_channels / groups; }
  constexpr std::int64_t taps() const { return y.kernel * x.kernel; }
};

}  // namespace saccade
