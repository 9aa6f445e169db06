// What the 2-D pooling operations share: the rules of their arguments, the shape that follows, the cut of the work.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "common/tensor_view.h"
#include "math/windows.h"

namespace saccade {

using Pair = std::vector<std::int64_t>;  // along the rows, along the columns

// "(2, 3)" as Python prints a pair.
std::string pair_string(const Pair& pair);

// Two numbers, neither below `least`, which is 0 or 1.
void require_pair(const char* op, const char* name, const Pair& pair, std::int64_t least);
void check_pool2d_input(const char* op, const TensorView& input);

// Every rule of torch's: input (n, c, h, w) of a floating type, only n may be 0; sizes positive, padding not negative
// and at most half of the kernel; a last window that starts beyond the input is dropped with ceil_mode; at least
// one window per axis.
WindowShape check_pool2d(const char* op, const TensorView& input, const Pair& kernel_size, const Pair& stride,
                         const Pair& padding, const Pair& dilation, bool ceil_mode);

// Units of `length` elements that are worth a thread: about 16,000 elements.
inline std::int64_t row_grain(std::int64_t length) { return std::max<std::int64_t>(1, 16384 / length); }

template <class RangeOf>
std::vector<WindowRange> ranges(std::int64_t count, const RangeOf& range_of) {
  std::vector<WindowRange> result(count);
  for (std::int64_t i = 0; i < count; ++i) result[i] = range_of(i);
  return result;
}

// [begin, end) counts the rows of all planes, one after the other: body(plane, first row, last row) for the pieces of
// at most `most` rows that lie in one plane each.
template <class Body>
void for_plane_rows(std::int64_t begin, std::int64_t end, std::int64_t rows, std::int64_t most, const Body& body) {
  while (begin < end) {
    const std::int64_t plane = begin / rows, first = begin % rows;
    const std::int64_t last = std::min({rows, first + most, first + end - begin});
    body(plane, first, last);
    begin += last - first;
  }
}

}  // namespace saccade
