#include "kernels/cascade_level.h"

#include "isa/simd.h"

namespace saccade::SACCADE_ISA {
namespace {

// The interpolation is exact until its one rounding, so the vertical pass may come first: it runs over contiguous
// bytes, and the horizontal one then needs a single gather for both neighbours.
void blend_rows(const std::uint8_t* above, const std::uint8_t* below, std::int32_t weight_below, std::int64_t width,
                std::uint32_t* pairs) {
  const std::uint32_t w1 = static_cast<std::uint32_t>(weight_below), w0 = 256 - w1;
  for (std::int64_t x = 0; x + 1 < width; ++x)
    pairs[x] = (above[x] * w0 + below[x] * w1) | (above[x + 1] * w0 + below[x + 1] * w1) << 16;
  if (width > 0) pairs[width - 1] = above[width - 1] * w0 + below[width - 1] * w1;
}

void sample_row(const std::uint32_t* pairs, const std::int32_t* index, const std::int32_t* weight, std::int64_t width,
                std::uint8_t* out) {
  using I = Vec<std::int32_t>;
  using U = Vec<std::uint32_t>;
  constexpr int kWidth = kLanes<std::int32_t>;
  std::int64_t x = 0;
  for (; x + kWidth <= width; x += kWidth) {
    const U pair = (U)gather<I>(reinterpret_cast<const std::int32_t*>(pairs), load<I>(index + x));
    const I left = (I)(pair & 0xffffu), right = (I)(pair >> 16);
    const U value = (U)((left << 8) + (right - left) * load<I>(weight + x) + (1 << 15)) >> 16;
    const auto bytes = __builtin_convertvector(value, Vec<std::uint8_t, kWidth>);
    std::memcpy(out + x, &bytes, sizeof(bytes));
  }
  for (; x < width; ++x) {
    const std::int32_t left = pairs[index[x]] & 0xffff, right = static_cast<std::int32_t>(pairs[index[x]] >> 16);
    out[x] = static_cast<std::uint8_t>(((left << 8) + (right - left) * weight[x] + (1 << 15)) >> 16);
  }
}

void plain_sums(const CascadeIntegralRow& r) {
  std::uint32_t sum = 0, squares = 0;
  const bool square = r.squares != 0;
  const auto store_column = [&](std::int64_t column) {
    r.row[column] = r.above[column] + sum;
    if (square) r.row[column + r.squares] = r.above[column + r.squares] + squares;
  };
  const auto add = [&](std::int64_t x) {
    const std::uint32_t p = r.pixels[x];
    sum += p;
    squares += p * p;
  };
  store_column(0);
  if (r.step == 1) {
    for (std::int64_t x = 0; x < r.width; ++x) add(x), store_column(x + 1);
    return;
  }
  std::int64_t x = 0;
  for (; x + 2 <= r.width; x += 2) {
    add(x);
    store_column(r.half + x / 2);
    add(x + 1);
    store_column(x / 2 + 1);
  }
  if (x < r.width) add(x), store_column(r.half + x / 2);
}

// T(X, Y) = T(X - 1, Y - 1) + T(X + 1, Y - 1) - T(X, Y - 2) + p(X - 1, Y - 1) + p(X - 1, Y - 2); beyond the right edge
// T(w + 1, Y - 1) = T(w, Y - 2), and T(0, Y) = T(1, Y - 1). Only rows above are read: nothing to scan.
void tilted_sums(const CascadeIntegralRow& r) {
  std::uint32_t* row = r.row + r.tilted;
  const std::uint32_t *above = r.above + r.tilted, *above2 = r.above2 + r.tilted;
  const std::uint8_t *p = r.pixels, *q = r.pixels_above;
  const std::int64_t w = r.width;
  const auto column = [&r](std::int64_t x) { return r.step == 1 ? x : (x & 1) * r.half + (x >> 1); };
  row[column(0)] = above[column(1)];
  if (r.step == 1) {
    for (std::int64_t x = 1; x < w; ++x) row[x] = above[x - 1] + above[x + 1] - above2[x] + p[x - 1] + q[x - 1];
  } else {
    const std::uint32_t *odd = above + r.half, *odd2 = above2 + r.half;
    std::uint32_t* odd_row = row + r.half;
    for (std::int64_t i = 0; 2 * i + 1 < w; ++i) odd_row[i] = above[i] + above[i + 1] - odd2[i] + p[2 * i] + q[2 * i];
    for (std::int64_t i = 1; 2 * i < w; ++i) row[i] = odd[i - 1] + odd[i] - above2[i] + p[2 * i - 1] + q[2 * i - 1];
  }
  row[column(w)] = above[column(w - 1)] + p[w - 1] + q[w - 1];
}

void integral_row(const CascadeIntegralRow& r) {
  plain_sums(r);
  if (r.tilted != 0) tilted_sums(r);
}

void grey_row(const std::uint8_t* rgb, std::int64_t pixel_stride, std::int64_t channel_stride, std::int64_t width,
              std::uint8_t* out) {
  for (std::int64_t x = 0; x < width; ++x, rgb += pixel_stride) {
    const std::uint32_t red = rgb[0], green = rgb[channel_stride], blue = rgb[2 * channel_stride];
    out[x] = static_cast<std::uint8_t>((9798 * red + 19235 * green + 3735 * blue + (1u << 14)) >> 15);
  }
}

}  // namespace

const CascadeLevelKernels cascade_level_kernels = {blend_rows, sample_row, integral_row, grey_row};

}  // namespace saccade::SACCADE_ISA
