// Exact division of 16-bit numbers by a constant, by one multiplication that keeps the upper half.
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace saccade {

// n / divisor = ((n + add) * multiplier) >> (16 + shift) for every n below 65535; `divisor` from 1 to 65535.
struct Divide16 {
  std::uint16_t multiplier, shift, add;
};

// With 2^s <= divisor < 2^(s + 1), 2^(16 + s) / divisor fits 16 bits rounded up or down, and one of the two is off by
// `error` / divisor with error <= divisor / 2 <= 2^s. Rounded up, the result is too large by n * error / divisor /
// 2^(16 + s) < 1 / divisor; rounded down, n + 1 in the place of n makes up for it (Robison, N-bit unsigned division via
// N-bit multiply-add, 2005). A power of two is rounded down too: its quotient 2^16 would not fit.
SACCADE_HD Divide16 divide16(std::uint32_t divisor) {
  std::uint16_t shift = 0;
  while (divisor >> (shift + 1) != 0) ++shift;
  const std::uint32_t power = std::uint32_t{65536} << shift, below = power / divisor;
  const std::uint32_t rest = power - below * divisor;
  if (rest == 0) return {static_cast<std::uint16_t>(below - 1), shift, 1};
  const bool up = divisor - rest < rest;
  return {static_cast<std::uint16_t>(below + (up ? 1 : 0)), shift, static_cast<std::uint16_t>(up ? 0 : 1)};
}

}  // namespace saccade
