// Bounding box of a mask: the empty rows above and below are read whole, the rows between only outside the columns
// already known to be covered, so that a mask full of foreground is hardly read at all. An empty one is read once, at
// the speed of memory.
#include "kernels/masks_to_boxes.h"

#include "isa/simd.h"

namespace saccade::SACCADE_ISA {
namespace {

constexpr int kUnroll = 4;  // registers tested at once: one test per register would be bound by the branch

template <class Word>
SACCADE_HD bool any_set(const Word* p, Word bits) {
  using V = Vec<Word>;
  const V v = load<V>(p) | load<V>(p + kLanes<Word>) | load<V>(p + 2 * kLanes<Word>) | load<V>(p + 3 * kLanes<Word>);
  const auto words = (Vec<std::uint32_t>)(v & splat<V>(bits));
  return any(words != Vec<std::uint32_t>{});
}

// The first index in [0, n) with one of the bits set, else n.
template <class Word>
SACCADE_HD std::int64_t first_set(const Word* p, std::int64_t n, Word bits) {
  constexpr std::int64_t step = kUnroll * kLanes<Word>;
  std::int64_t i = 0;
  while (i + step <= n && !any_set(p + i, bits)) i += step;
  while (i < n && (p[i] & bits) == 0) ++i;
  return i;
}

// The last index in [0, n) with one of the bits set, else -1.
template <class Word>
SACCADE_HD std::int64_t last_set(const Word* p, std::int64_t n, Word bits) {
  constexpr std::int64_t step = kUnroll * kLanes<Word>;
  while (n >= step && !any_set(p + n - step, bits)) n -= step;
  while (n > 0 && (p[n - 1] & bits) == 0) --n;
  return n - 1;
}

template <class Word>
void mask_to_box(const Word* mask, std::int64_t h, std::int64_t w, std::int64_t row_stride, Word bits, float* box) {
  std::int64_t y1 = 0, x1 = w;
  for (; y1 < h; ++y1) {
    x1 = first_set(mask + y1 * row_stride, w, bits);
    if (x1 < w) break;
  }
  if (y1 == h || w == 0) {
    box[0] = box[1] = box[2] = box[3] = 0;
    return;
  }
  std::int64_t y2 = h - 1;
  while (first_set(mask + y2 * row_stride, w, bits) == w) --y2;
  std::int64_t x2 = x1;
  for (std::int64_t y = y1; y <= y2; ++y) {
    const Word* row = mask + y * row_stride;
    x1 = first_set(row, x1, bits);
    x2 += 1 + last_set(row + x2 + 1, w - x2 - 1, bits);
  }
  box[0] = static_cast<float>(x1), box[1] = static_cast<float>(y1);
  box[2] = static_cast<float>(x2), box[3] = static_cast<float>(y2);
}

}  // namespace

const MasksToBoxesKernels masks_to_boxes_kernels = {mask_to_box<std::uint8_t>, mask_to_box<std::uint16_t>,
                                                    mask_to_box<std::uint32_t>, mask_to_box<std::uint64_t>};

}  // namespace saccade::SACCADE_ISA
