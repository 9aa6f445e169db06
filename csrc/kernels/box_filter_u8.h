// Kernels of box_filter (csrc/ops/box_filter.h) for uint8 and windows up to about 128 x 128.
#pragma once

#include <cstdint>

#include "isa/isa.h"
#include "math/divide16.h"

namespace saccade {

// A row of means moves down by what enters the windows less what leaves them. With h = area / 2 the mean of a window
// is floor((total + h) / area). Where total + h may reach 2^16 (`whole` false), a pixel's state is the remainder of
// that division, and the mean moves by floor((remainder + difference) / area): 16 bits again.
struct BoxWindowU8 {
  std::int64_t width, columns;  // of the image, of the window
  std::int64_t span;            // columns whose difference is taken in at once
  std::uint16_t area;           // of the window
  std::uint16_t lift;           // multiple of the area that keeps remainder + difference from falling below zero
  bool whole;                   // total + h keeps within 16 bits, and is the state itself
  Divide16 divide;              // by area; a state holds divide.add and, if not whole, lift * area
};

struct BoxU8Kernels {
  // line[1 + columns / 2 + x] = plus[x] - minus[x]; `minus` null: zero, and added to what stands there if `add`.
  void (*difference)(const BoxWindowU8& window, const std::uint8_t* plus, const std::uint8_t* minus, bool add,
                     std::uint16_t* line);
  // Moves states and means by the differences in `line`, which it overwrites, and copies the means to `out` (`out` may
  // be `means`). There are kBoxU8Slack elements before `line`, and as many behind its width + columns elements, the
  // width states and the width means.
  void (*move)(const BoxWindowU8& window, std::uint16_t* line, std::uint16_t* states, std::uint8_t* means,
               std::uint8_t* out);
};
constexpr std::int64_t kBoxU8Slack = 64;
SACCADE_KERNELS(BoxU8Kernels, box_u8_kernels)

}  // namespace saccade
