#include "ops/hog_descriptor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "common/large_output.h"
#include "common/parallel.h"
#include "ops/checks.h"
#include "ops/hog_blocks.h"
#include "ops/hog_detect.h"

namespace saccade {

namespace {

constexpr const char* kOp = "HOGDescriptor";
constexpr std::int64_t kLimit = 1 << 14;

std::string text(HogSize size) { return concat("(", size.width, ", ", size.height, ")"); }

bool divides(HogSize part, HogSize whole) { return whole.width % part.width == 0 && whole.height % part.height == 0; }

HogSize minus(HogSize a, HogSize b) { return {a.width - b.width, a.height - b.height}; }

std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

}  // namespace

void check_hog_geometry(const HogGeometry& g) {
  const std::pair<const char*, HogSize> sizes[] = {
      {"win_size", g.window}, {"block_size", g.block}, {"block_stride", g.stride}, {"cell_size", g.cell}};
  for (const auto& [name, size] : sizes)
    require(size.width >= 1 && size.height >= 1 && size.width <= kLimit && size.height <= kLimit, kOp, ": ", name,
            " must be from 1 to ", kLimit, ", got ", text(size));
  require(divides(g.cell, g.block), kOp, ": block_size must be a multiple of cell_size, got ", text(g.block), " and ",
          text(g.cell));
  require(g.block.width <= g.window.width && g.block.height <= g.window.height, kOp,
          ": block_size must be at most win_size, got ", text(g.block), " and ", text(g.window));
  require(divides(g.stride, minus(g.window, g.block)), kOp,
          ": win_size must be block_size and a multiple of block_stride, got ", text(g.window), ", ", text(g.block),
          " and ", text(g.stride));
  require(g.bins >= 1 && g.bins <= 256, kOp, ": nbins must be from 1 to 256, got ", g.bins);
  require(std::isfinite(g.sigma) && g.sigma != 0, kOp, ": win_sigma must be finite and not 0, got ", g.sigma);
  require(std::isfinite(g.threshold) && g.threshold > 0, kOp,
          ": l2_hys_threshold must be finite and greater than 0, got ", g.threshold);
  require(g.levels >= 1, kOp, ": nlevels must be at least 1, got ", g.levels);
  require(g.size() <= std::int64_t{1} << 28, kOp, ": descriptor must have at most 2^28 values, got ", g.size());
}

void check_hog_image(const char* op, const TensorView& image) {
  require_dtype(op, "image", image, DType::kUInt8);
  require(image.ndim == 2 || (image.ndim == 3 && image.size(2) == 3), op,
          ": image must have shape (H, W) or (H, W, 3), got ", shape_string(image));
  const std::int64_t limit = std::numeric_limits<std::int32_t>::max();
  require(image.size(0) <= limit / 4 && image.size(1) <= limit / 4 &&
              (image.size(0) == 0 || image.size(1) <= limit / image.size(0)),
          op, ": image must have fewer than 2^31 pixels, got ", shape_string(image));
}

HogDescriptor::HogDescriptor(const HogGeometry& geometry) : geometry_((check_hog_geometry(geometry), geometry)) {}

HogDescriptor HogDescriptor::with_svm(std::vector<float> coefficients) const {
  const auto count = static_cast<std::int64_t>(coefficients.size()), size = geometry_.size();
  require(count == size || count == size + 1, "set_svm: coefficients must be ", size, " or ", size + 1, ", got ",
          count);
  for (const float c : coefficients) require(std::isfinite(c), "set_svm: coefficients must be finite, got ", c);
  HogDescriptor result(*this);
  result.coefficients_ = std::move(coefficients);
  return result;
}

HogPlacement place_windows(const HogGeometry& g, const HogOptions& options, std::int64_t width, std::int64_t height) {
  HogPlacement p;
  p.stride = options.stride.width == 0 ? g.cell : options.stride;
  p.step = {std::gcd(p.stride.width, g.stride.width), std::gcd(p.stride.height, g.stride.height)};
  p.padding = {round_up(options.padding.width, p.step.width), round_up(options.padding.height, p.step.height)};
  const std::int64_t room_x = width + 2 * p.padding.width - g.window.width;
  const std::int64_t room_y = height + 2 * p.padding.height - g.window.height;
  if (width == 0 || height == 0 || room_x < 0 || room_y < 0) return p;
  p.columns = room_x / p.stride.width + 1;
  p.rows = room_y / p.stride.height + 1;
  return p;
}

HogGrid HogPlacement::grid(const HogGeometry& g, HogSize image, std::int64_t width, std::int64_t height) const {
  HogGrid result(image, width, height);
  result.x = -padding.width;
  result.y = -padding.height;
  result.columns = ((columns - 1) * stride.width + g.window.width - g.block.width) / step.width + 1;
  result.rows = ((rows - 1) * stride.height + g.window.height - g.block.height) / step.height + 1;
  return result;
}

std::vector<HogHit> HogDescriptor::windows(const char* op, const TensorView& image, const HogOptions& options,
                                           const TensorView& locations) const {
  check_hog_image(op, image);
  const std::int64_t height = image.size(0), width = image.size(1);
  const HogPlacement p = place_windows(geometry_, options, width, height);
  std::vector<HogHit> result;
  if (locations.dtype == DType::kUnsupported) {
    require(p.columns > 0, op, ": image must hold a window of ", text(geometry_.window), " with its padding, got ",
            shape_string(image), " and ", text(p.padding));
    for (std::int64_t y = 0; y < p.rows; ++y)
      for (std::int64_t x = 0; x < p.columns; ++x)
        result.push_back({static_cast<std::int32_t>(x * p.stride.width - p.padding.width),
                          static_cast<std::int32_t>(y * p.stride.height - p.padding.height), 0});
    return result;
  }
  require_shape(op, "locations", locations, "(N, 2)", {-1, 2});
  require_dtype(op, "locations", locations, DType::kInt64);
  for (std::int64_t i = 0; i < locations.size(0); ++i) {
    const std::int64_t* at = locations.ptr<std::int64_t>() + i * locations.stride(0);
    const std::int64_t x = at[0], y = at[locations.stride(1)];
    require(width > 0 && height > 0 && x >= -p.padding.width && y >= -p.padding.height &&
                x <= width + p.padding.width - geometry_.window.width &&
                y <= height + p.padding.height - geometry_.window.height,
            op, ": locations must be of windows inside the image and its padding, got (", x, ", ", y, ")");
    result.push_back({static_cast<std::int32_t>(x), static_cast<std::int32_t>(y), 0});
  }
  return result;
}

namespace {

// The block's values beside each other, blocks ordered by column, then row.
void collect(const HogStrip& strip, std::int64_t values, std::int64_t columns, std::int64_t rows, std::int64_t row,
             float* blocks) {
  const float* planes = strip.planes();
  for (std::int64_t x = 0; x < columns; ++x) {
    float* to = blocks + (x * rows + row) * values;
    for (std::int64_t k = 0; k < values; ++k) to[k] = planes[k * strip.plane() + x];
  }
}

}  // namespace

void HogDescriptor::compute(const TensorView& view, const HogOptions& options, const TensorView& locations,
                            const std::vector<HogHit>& windows, float* out) const {
  const HogGeometry& g = geometry_;
  const HogImage image(view);
  const auto count = static_cast<std::int64_t>(windows.size());
  if (locations.dtype != DType::kUnsupported) {
    const HogPlan plan(g, g.stride);
    const HogGrid whole(image.size(), image.width, image.height);
    return parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end) {
      HogStrip strip(plan, image, g.blocks_across());
      HogGrid grid(whole);
      grid.columns = g.blocks_across();
      grid.rows = g.blocks_down();
      for (std::int64_t i = begin; i < end; ++i) {
        grid.x = windows[static_cast<std::size_t>(i)].x;
        grid.y = windows[static_cast<std::size_t>(i)].y;
        strip.start(grid, 0, grid.rows);
        for (std::int64_t r = 0; r < grid.rows; ++r)
          strip.next(), collect(strip, g.values(), grid.columns, grid.rows, r, out + i * g.size());
      }
    });
  }
  const HogPlacement p = place_windows(g, options, image.width, image.height);
  const HogGrid grid = p.grid(g, image.size(), image.width, image.height);
  const HogPlan plan(g, p.step);
  const std::int64_t values = g.values();
  const Scratch<float> blocks(static_cast<std::size_t>(grid.columns * grid.rows * values));
  parallel_for(grid.rows, 8, [&](std::int64_t begin, std::int64_t end) {
    HogStrip strip(plan, image, grid.columns);
    strip.start(grid, begin, end);
    for (std::int64_t r = begin; r < end; ++r)
      strip.next(), collect(strip, values, grid.columns, grid.rows, r, blocks.data());
  });
  const std::int64_t across = g.stride.width / p.step.width, down = g.stride.height / p.step.height;
  const std::int64_t column = grid.rows * values;  // floats
  const auto bytes = static_cast<std::size_t>(count * g.size()) * sizeof(float);
  const bool around = past_caches(out, bytes, 64);
  if (around) advise_huge_pages(out, bytes);
  const auto append = hog_block_kernels().append;
  parallel_for(count, 64, [&](std::int64_t begin, std::int64_t end) {
    HogAppend to{out + begin * g.size(), around, {}, 0};
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t x = i % p.columns * p.stride.width / p.step.width;
      const std::int64_t y = i / p.columns * p.stride.height / p.step.height;
      for (std::int64_t c = 0; c < g.blocks_across(); ++c) {
        const float* from = blocks.data() + (x + c * across) * column + y * values;
        if (down == 1) {
          append(to, from, g.blocks_down() * values);
        } else {
          for (std::int64_t r = 0; r < g.blocks_down(); ++r) append(to, from + r * down * values, values);
        }
      }
    }
    if (around) append(to, nullptr, 0);
  });
}

}  // namespace saccade
