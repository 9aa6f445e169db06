// Mean filter: sums over columns, then over rows, each by the method of van Herk (1992) and Gil and Werman (1993): a
// window of k spans two blocks of k, so it is a sum from its start to the block's end plus one from the next block's
// start. Three additions a pixel whatever the size, and no subtraction: nothing drifts, a NaN spoils only windows
// around it, and blocks lie in the image, not in a thread's share of it. Windows up to 16 columns are added up
// directly, in lanes. Windows of uint8 up to about 128 x 128 go by box_filter_u8.cpp.
#include "kernels/box_filter.h"

#include "isa/simd.h"
#include "math/border.h"

namespace saccade::SACCADE_ISA {
namespace {

constexpr std::int64_t kDirect = 16;

template <class T>
using Sum = typename BoxFilterKernels<T>::Sum;

template <class T>
void add_row(const Sum<T>* a, const T* pixels, std::int64_t width, Sum<T>* to) {
  if (a == nullptr)
    for (std::int64_t x = 0; x < width; ++x) to[x] = static_cast<Sum<T>>(pixels[x]);
  else
    for (std::int64_t x = 0; x < width; ++x) to[x] = a[x] + static_cast<Sum<T>>(pixels[x]);
}

template <class T>
void add_rows(const Sum<T>* a, const Sum<T>* b, std::int64_t width, Sum<T>* to) {
  for (std::int64_t x = 0; x < width; ++x) to[x] = a[x] + b[x];
}

template <class T>
void finish_row(Sum<T>* sums, std::int64_t left, std::int64_t width, std::int64_t columns, double area,
                Sum<T>* SACCADE_RESTRICT prefix, Sum<T>* SACCADE_RESTRICT suffix, T* SACCADE_RESTRICT out) {
  const std::int64_t length = width + columns - 1;
  for (std::int64_t e = 0; e < left; ++e) sums[e] = sums[left + reflect_101(e - left, width)];
  for (std::int64_t e = left + width; e < length; ++e) sums[e] = sums[left + reflect_101(e - left, width)];
  const double inverse = 1.0 / area;
  if (columns <= kDirect) {
    for (std::int64_t x = 0; x < width; ++x) prefix[x] = sums[x];
    for (std::int64_t k = 1; k < columns; ++k)
      for (std::int64_t x = 0; x < width; ++x) prefix[x] += sums[x + k];
    for (std::int64_t x = 0; x < width; ++x) out[x] = box_mean<T>(prefix[x], area, inverse);
    return;
  }
  for (std::int64_t begin = 0; begin < length; begin += columns) {
    const std::int64_t end = begin + columns < length ? begin + columns : length;
    Sum<T> from_start{}, to_end{};
    for (std::int64_t i = 0; i < end - begin; ++i) {
      from_start += sums[begin + i];
      prefix[begin + i] = from_start;
      to_end += sums[end - 1 - i];
      suffix[end - 1 - i] = to_end;
    }
  }
  for (std::int64_t begin = 0; begin < width; begin += columns) {
    out[begin] = box_mean<T>(suffix[begin], area, inverse);  // one whole block
    const std::int64_t end = begin + columns < width ? begin + columns : width;
    for (std::int64_t x = begin + 1; x < end; ++x)
      out[x] = box_mean<T>(suffix[x] + prefix[x + columns - 1], area, inverse);
  }
}

template <class T>
constexpr BoxFilterKernels<T> kKernels = {add_row<T>, finish_row<T>, add_rows<T>};

}  // namespace

const BoxKernels box_kernels = {kKernels<std::uint8_t>, kKernels<float>, kKernels<double>};

}  // namespace saccade::SACCADE_ISA
