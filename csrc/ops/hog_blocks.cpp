#include "ops/hog_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cascade_level.h"
#include "math/hog_votes.h"
#include "ops/cascade_levels.h"

namespace saccade {

namespace {

constexpr std::int64_t kLane = 16;   // floats of the widest register
constexpr std::int64_t kPixels = 8;  // rows of pixels kept: four that vote and their neighbours

std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

// The Gaussian times the share of each cell, for each position in a block, and where they are not zero.
void interpolate(std::int64_t size, std::int64_t cell, double sigma, std::vector<float>& weights,
                 std::vector<std::int32_t>& taps) {
  const std::int64_t cells = size / cell;
  weights.assign(static_cast<std::size_t>(cells * size), 0.f);
  for (std::int64_t i = 0; i < size; ++i) {
    const double from_centre = static_cast<double>(i) - static_cast<double>(size) * 0.5;
    const double gaussian = std::exp(-from_centre * from_centre / (2 * sigma * sigma));
    const double at = (static_cast<double>(i) + 0.5) / static_cast<double>(cell) - 0.5;
    const auto before = static_cast<std::int64_t>(std::floor(at));
    const double share = at - static_cast<double>(before);
    const auto set = [&](std::int64_t c, double w) {
      if (c >= 0 && c < cells) weights[static_cast<std::size_t>(c * size + i)] = static_cast<float>(w * gaussian);
    };
    set(before, 1 - share);
    set(before + 1, share);
  }
  taps.clear();
  for (std::int64_t c = 0; c < cells; ++c) {
    const float* w = weights.data() + c * size;
    std::int64_t first = 0, end = size;
    while (first < end && w[first] == 0) ++first;
    while (end > first && w[end - 1] == 0) --end;
    taps.push_back(static_cast<std::int32_t>(first));
    taps.push_back(static_cast<std::int32_t>(end));
  }
}

}  // namespace

HogImage::HogImage(const TensorView& image)
    : width(image.size(1)), height(image.size(0)), channels(image.ndim == 3 ? kHogChannels : 1) {
  const auto* source = image.ptr<const std::uint8_t>();
  if (channels == 1 && (image.stride(1) == 1 || width <= 1)) {
    planes_[0] = source;
    stride_ = image.stride(0);
    return;
  }
  stride_ = width;
  copy_.resize(static_cast<std::size_t>(channels * width * height));
  const std::int64_t step = image.stride(1);
  for (int c = 0; c < channels; ++c) {
    std::uint8_t* to = copy_.data() + c * width * height;
    planes_[c] = to;
    const std::uint8_t* from = source + (channels > 1 ? c * image.stride(2) : 0);
    for (std::int64_t y = 0; y < height; ++y, to += width, from += image.stride(0)) {
      if (step == 3)
        for (std::int64_t x = 0; x < width; ++x) to[x] = from[x * 3];
      else
        for (std::int64_t x = 0; x < width; ++x) to[x] = from[x * step];
    }
  }
}

HogGrid::HogGrid(HogSize image, std::int64_t grid_width, std::int64_t grid_height)
    : width(grid_width), height(grid_height) {
  linear_exact(image.width, width, column_index, column_weight);
  linear_exact(image.height, height, row_index, row_weight);
}

HogPlan::HogPlan(const HogGeometry& g, HogSize spacing)
    : geometry(g),
      step(spacing),
      per_radian(static_cast<float>(static_cast<double>(g.bins) / (g.full_circle ? 2 : 1) / 3.14159265358979323846)) {
  const double sigma = g.sigma >= 0 ? g.sigma : static_cast<double>(g.block.width + g.block.height) / 8;
  interpolate(g.block.width, g.cell.width, sigma, column_weights, column_taps);
  interpolate(g.block.height, g.cell.height, sigma, row_weights, row_taps);
}

HogStrip::HogStrip(const HogPlan& plan, const HogImage& image, std::int64_t columns)
    : plan_(plan),
      image_(image),
      kernels_(hog_block_kernels()),
      stride_(kHogMargin + round_up(round_up(columns, kLane) + plan.geometry.block.width / plan.step.width + 2, kLane)),
      width_(stride_ * plan.step.width),
      plane_(round_up(columns, 2 * kLane) + plan.geometry.window.width / plan.step.width + kLane),
      ring_((plan.geometry.block.height + kHogRows - 1) / plan.step.height + 2),
      pixels_(static_cast<std::size_t>(image.channels * kPixels * width_ + kLane)),  // a lane's right neighbour
      sums_(static_cast<std::size_t>(ring_ * plan.geometry.cells_down() * plan.geometry.bins * width_)),
      planes_(static_cast<std::size_t>(plan.geometry.values() * plane_)),
      bytes_(static_cast<std::size_t>(width_)),
      pairs_(static_cast<std::size_t>(image.width)) {
  std::memset(pixels_.data(), 0, pixels_.size() * sizeof(float));
  std::memset(sums_.data(), 0, sums_.size() * sizeof(float));
  std::memset(planes_.data(), 0, planes_.size() * sizeof(float));
}

const float* HogStrip::row(int channel, std::int64_t y) const {
  return pixels_.data() + (channel * kPixels + (y & (kPixels - 1))) * width_;
}

float* HogStrip::slot(std::int64_t block_row, std::int64_t cell_row) const {
  const std::int64_t cells = plan_.geometry.cells_down();
  return sums_.data() + (block_row % ring_ * cells + cell_row) * plan_.geometry.bins * width_;
}

void HogStrip::start(const HogGrid& grid, std::int64_t first, std::int64_t end) {
  const HogSize step = plan_.step, block = plan_.geometry.block;
  const std::int64_t overlap = (block.width + step.width - 1) / step.width;
  lanes_ = grid.columns - 1 + overlap;
  index_.clear();
  weight_.clear();
  for (std::int64_t phase = 0; phase < step.width; ++phase)
    for (std::int64_t lane = -1; lane <= lanes_; ++lane) {
      const auto x = static_cast<std::size_t>(hog_mirror(grid.x + lane * step.width + phase, grid.width));
      index_.push_back(grid.column_index[x]);
      weight_.push_back(grid.column_weight[x]);
    }
  offsets_.clear();
  for (std::int64_t x = 0; x < block.width; ++x)
    offsets_.push_back(x % step.width * stride_ + kHogMargin + x / step.width);
  grid_ = &grid;
  block_row_ = first;
  end_ = end;
  voted_ = first * step.height;
  filled_ = voted_ - 1;
}

void HogStrip::fill(std::int64_t y) {
  const HogGrid& grid = *grid_;
  const std::int64_t level = hog_mirror(grid.y + y, grid.height), run = lanes_ + 2;
  const bool resized = grid.width != image_.width || grid.height != image_.height;
  const auto at = static_cast<std::size_t>(level);
  for (int c = 0; c < image_.channels; ++c) {
    if (resized) {
      const auto& kernels = cascade_level_kernels();
      const std::int64_t above = grid.row_index[at], below = std::min(above + 1, image_.height - 1);
      kernels.blend_rows(image_.row(c, above), image_.row(c, below), grid.row_weight[at], image_.width, pairs_.data());
      kernels.sample_row(pairs_.data(), index_.data(), weight_.data(), plan_.step.width * run, bytes_.data());
    } else {
      const std::uint8_t* from = image_.row(c, level);
      for (std::size_t i = 0; i < index_.size(); ++i) bytes_[i] = from[index_[i]];
    }
    float* to = pixels_.data() + (c * kPixels + (y & (kPixels - 1))) * width_ + kHogMargin - 1;
    for (std::int64_t phase = 0; phase < plan_.step.width; ++phase)
      kernels_.floats(bytes_.data() + phase * run, run, plan_.geometry.gamma, to + phase * stride_);
  }
}

// Rows [y, y + kHogRows) of pixels vote for all cells of all blocks that they are in.
void HogStrip::vote(std::int64_t y) {
  const HogGeometry& g = plan_.geometry;
  for (; filled_ <= y + kHogRows; ++filled_) fill(filled_);
  HogVotes v{};
  for (int c = 0; c < image_.channels; ++c)
    for (int r = 0; r < kHogRows + 2; ++r) v.rows[c][r] = row(c, y - 1 + r);
  v.channels = image_.channels;
  v.phases = plan_.step.width;
  v.stride = stride_;
  v.lanes = lanes_;
  v.bins = static_cast<int>(g.bins);
  v.per_radian = plan_.per_radian;
  v.full_circle = g.full_circle;
  for (std::int64_t r = block_row_; r < end_ && r * plan_.step.height < y + kHogRows; ++r) {
    const std::int64_t inside = y - r * plan_.step.height;  // of the block
    if (inside <= 0 && inside > -kHogRows)
      std::memset(slot(r, 0), 0, static_cast<std::size_t>(g.cells_down() * g.bins * width_) * sizeof(float));
    for (std::int64_t c = 0; c < g.cells_down(); ++c) {
      float* weights = v.weights[v.targets];
      bool any = false;
      for (std::int64_t k = 0; k < kHogRows; ++k) {
        const std::int64_t i = inside + k;
        weights[k] =
            i >= 0 && i < g.block.height ? plan_.row_weights[static_cast<std::size_t>(c * g.block.height + i)] : 0;
        any |= weights[k] != 0;
      }
      if (!any) continue;
      v.sums[v.targets++] = slot(r, c);
      if (v.targets == kHogTargets) kernels_.vote(v), v.targets = 0;
    }
  }
  if (v.targets > 0) kernels_.vote(v);
}

void HogStrip::next() {
  const HogGeometry& g = plan_.geometry;
  for (; voted_ < block_row_ * plan_.step.height + g.block.height; voted_ += kHogRows) vote(voted_);
  std::vector<const float*> sums;
  for (std::int64_t c = 0; c < g.cells_down(); ++c) sums.push_back(slot(block_row_, c));
  HogBlockRow r{};
  r.sums = sums.data();
  r.cell_rows = static_cast<int>(g.cells_down());
  r.cell_columns = static_cast<int>(g.cells_across());
  r.bins = static_cast<int>(g.bins);
  r.phases = plan_.step.width;
  r.stride = stride_;
  r.lanes = grid_->columns;
  r.weights = plan_.column_weights.data();
  r.taps = plan_.column_taps.data();
  r.offsets = offsets_.data();
  r.width = g.block.width;
  r.threshold = static_cast<float>(g.threshold);
  r.planes = planes_.data();
  r.plane = plane_;
  kernels_.blocks(r);
  ++block_row_;
}

}  // namespace saccade
