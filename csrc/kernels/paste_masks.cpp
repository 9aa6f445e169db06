// Masks pasted into images: bound by the images, most of which is zero. 100 masks in 800 x 800 are 256 MB: 25 ms at
// 10 GB/s, what fresh pages come at. The interpolation touches the boxes only: each row is first mixed from two rows of
// cells, of which all columns then take their two.
#include "kernels/paste_masks.h"

#include <algorithm>
#include <cstring>

#include "isa/simd.h"

namespace saccade::SACCADE_ISA {
namespace {

template <class T>
void zero(T* from, std::int64_t count) {
  std::memset(from, 0, static_cast<std::size_t>(count) * sizeof(T));
}

// The row of cells that image row y lies on; one more, so that the last cell has a next one.
template <class T>
void mix_rows(const MaskRows<T>& m, std::int64_t y) {
  const MaskCell<T> at = mask_cell(m.y, y);
  const T *above = m.cells + at.index * m.side, *below = m.cells + std::min(at.index + 1, m.side - 1) * m.side;
  for (std::int64_t c = 0; c < m.side; ++c) m.row[c] = (T(1) - at.weight) * above[c] + at.weight * below[c];
  m.row[m.side] = m.row[m.side - 1];
}

template <class T>
void paste_rows(const MaskRows<T>& m) {
  using V = Vec<T>;
  using I = Vec<typename MaskRows<T>::Index>;
  constexpr int kN = kLanes<T>;
  const std::int64_t left = std::clamp<std::int64_t>(m.x.first, 0, m.width);
  const std::int64_t right = std::clamp<std::int64_t>(m.x.last + 1, left, m.width), inside = right - left;
  const std::int64_t top = std::clamp(m.y.first, m.begin, m.end), bottom = std::clamp(m.y.last + 1, top, m.end);
  if (inside == 0 || top == bottom) return zero(m.out, (m.end - m.begin) * m.width);
  for (std::int64_t j = 0; j < inside; ++j) {
    const MaskCell<T> at = mask_cell(m.x, left + j);
    m.index[j] = static_cast<typename MaskRows<T>::Index>(at.index), m.weight[j] = at.weight;
  }
  // Everything up to the first pixel at once, then what lies between two rows of the box.
  T* out = m.out + (top - m.begin) * m.width + left;
  zero(m.out, out - m.out);
  for (std::int64_t y = top; y < bottom; ++y, out += m.width) {
    mix_rows(m, y);
    std::int64_t j = 0;
    for (; j + kN <= inside; j += kN) {
      const I index = load<I>(m.index + j);
      const V weight = load<V>(m.weight + j);
      const V value = (T(1) - weight) * gather<V>(m.row, index) + weight * gather<V>(m.row + 1, index);
      store(out + j, value);
    }
    for (; j < inside; ++j) out[j] = (T(1) - m.weight[j]) * m.row[m.index[j]] + m.weight[j] * m.row[m.index[j] + 1];
    if (y + 1 < bottom) zero(out + inside, m.width - inside);
  }
  out += inside - m.width;
  zero(out, m.out + (m.end - m.begin) * m.width - out);
}

}  // namespace

const PasteMasksKernels paste_masks_kernels = {paste_rows<float>, paste_rows<double>};

}  // namespace saccade::SACCADE_ISA
