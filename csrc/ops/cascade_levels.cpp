#include "ops/cascade_levels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/error.h"
#include "common/parallel.h"
#include "ops/checks.h"

namespace saccade {

namespace {

constexpr std::size_t kMaxLevels = 4096;

std::int64_t round_even(double x) { return static_cast<std::int64_t>(std::nearbyint(x)); }

// Scales at which the window fits the image, then those of the wanted sizes: OpenCV keeps the scale nearest to min_size
// when none is left.
std::vector<float> cascade_scales(const CascadeModel& model, std::int64_t width, std::int64_t height,
                                  const CascadeOptions& options) {
  std::vector<float> all, kept;
  for (double factor = 1;; factor *= options.scale_factor) {
    if (round_even(model.width * factor) > width || round_even(model.height * factor) > height) break;
    require(all.size() < kMaxLevels, "detect: scale_factor must give at most ", kMaxLevels, " levels, got ",
            options.scale_factor);
    all.push_back(static_cast<float>(factor));
  }
  const bool limited = options.max_size[0] > 0 && options.max_size[1] > 0;
  const std::int64_t max_width = limited ? options.max_size[0] : width;
  const std::int64_t max_height = limited ? options.max_size[1] : height;
  const auto window = [&](float scale, std::int64_t& w, std::int64_t& h) {
    w = round_even(static_cast<float>(model.width) * scale);
    h = round_even(static_cast<float>(model.height) * scale);
  };
  float nearest = 0;
  double least = 0;
  for (const float scale : all) {
    std::int64_t w, h;
    window(scale, w, h);
    const double dw = static_cast<double>(options.min_size[0] - w), dh = static_cast<double>(options.min_size[1] - h);
    const double distance = dw * dw + dh * dh;
    if (nearest == 0 || distance < least) nearest = scale, least = distance;
  }
  for (const float scale : all) {
    std::int64_t w, h;
    window(scale, w, h);
    if (w > max_width || h > max_height) break;
    if (w >= options.min_size[0] && h >= options.min_size[1]) kept.push_back(scale);
  }
  if (kept.empty() && !all.empty()) kept.push_back(nearest);
  return kept;
}

}  // namespace

void linear_exact(std::int64_t source, std::int64_t size, std::vector<std::int32_t>& index,
                  std::vector<std::int32_t>& weight) {
  const double scale = 1.0 / (static_cast<double>(size) / static_cast<double>(source));
  index.resize(static_cast<std::size_t>(size));
  weight.resize(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < index.size(); ++i) {
    const double at = scale * (static_cast<double>(i) + 0.5) - 0.5, whole = std::floor(at);
    const std::int64_t k = static_cast<std::int64_t>(whole);
    const bool before = k < 0, behind = k >= source - 1;
    index[i] = static_cast<std::int32_t>(before ? 0 : behind ? source - 1 : k);
    weight[i] = before || behind ? 0 : static_cast<std::int32_t>(round_even((at - whole) * 256));
  }
}

GreyImage::GreyImage(const TensorView& image) : width(image.size(1)), height(image.size(0)) {
  const auto* source = image.ptr<const std::uint8_t>();
  if (image.ndim == 2 && (image.stride(1) == 1 || width <= 1)) {
    data = source;
    stride = image.stride(0);
    return;
  }
  copy_.resize(static_cast<std::size_t>(width * height));
  const auto grey = cascade_level_kernels().grey_row;
  for (std::int64_t y = 0; y < height; ++y) {
    const std::uint8_t* from = source + y * image.stride(0);
    std::uint8_t* to = copy_.data() + y * width;
    if (image.ndim == 3)
      grey(from, image.stride(1), image.stride(2), width, to);
    else
      for (std::int64_t x = 0; x < width; ++x) to[x] = from[x * image.stride(1)];
  }
  data = copy_.data();
  stride = width;
}

std::vector<CascadeLevel> cascade_levels(const CascadeModel& model, std::int64_t width, std::int64_t height,
                                         const CascadeOptions& options) {
  std::vector<CascadeLevel> levels;
  std::int64_t stripes = 0;
  bool first = true;
  for (const float scale : cascade_scales(model, width, height, options)) {
    CascadeLevel level{};
    level.scale = scale;
    level.step = scale >= 2 ? 1 : 2;
    level.width = round_even(static_cast<float>(width) / scale);
    level.height = round_even(static_cast<float>(height) / scale);
    const std::int64_t reach_x = std::max<std::int64_t>(level.width + 1 - model.width, 0);
    std::int64_t reach_y = std::max<std::int64_t>(level.height + 1 - model.height, 0);
    // OpenCV cuts every level into as many bands as the first one has columns of 32 pixels, rounding the rows of a
    // band so that the last row of windows can be left out.
    if (first) stripes = (reach_x + 31) / 32;
    first = false;
    if (stripes == 0) return {};
    const std::int64_t band = std::max<std::int64_t>((reach_y / level.step + stripes - 1) / stripes, 1) * level.step;
    reach_y = std::min(reach_y, band * stripes);
    level.columns = (reach_x + level.step - 1) / level.step;
    level.rows = (reach_y + level.step - 1) / level.step;
    if (level.columns == 0 || level.rows == 0) continue;
    linear_exact(width, level.width, level.index, level.weight);
    linear_exact(height, level.height, level.row_index, level.row_weight);
    levels.push_back(std::move(level));
  }
  return levels;
}

void check_resize_linear_exact(const TensorView& image, std::int64_t width, std::int64_t height) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  require_shape("resize_linear_exact", "image", image, "(H, W)", {-1, -1});
  require_dtype("resize_linear_exact", "image", image, DType::kUInt8);
  require(image.numel() > 0 && std::max(image.size(0), image.size(1)) <= kMost,
          "resize_linear_exact: image must have sides from 1 to 2^30, got ", shape_string(image));
  require(std::min(width, height) >= 1 && std::max(width, height) <= kMost,
          "resize_linear_exact: width and height must be from 1 to 2^30, got ", width, " and ", height);
}

void resize_linear_exact(const TensorView& image, const TensorView& out) {
  const GreyImage source(image);
  const std::int64_t width = out.size(1), height = out.size(0);
  std::vector<std::int32_t> index, weight, row_index, row_weight;
  linear_exact(source.width, width, index, weight);
  linear_exact(source.height, height, row_index, row_weight);
  const auto& kernels = cascade_level_kernels();
  // 640 x 480 to 533 x 400 takes 140 us on one core (OpenCV: 190): fewer than 64 rows are not worth another thread.
  parallel_for(height, 64, [&](std::int64_t begin, std::int64_t end) {
    const Scratch<std::uint32_t> pairs(static_cast<std::size_t>(source.width));
    for (std::int64_t y = begin; y < end; ++y) {
      const std::int64_t above = row_index[static_cast<std::size_t>(y)];
      kernels.blend_rows(source.row(above), source.row(std::min(above + 1, source.height - 1)),
                         row_weight[static_cast<std::size_t>(y)], source.width, pairs.data());
      kernels.sample_row(pairs.data(), index.data(), weight.data(), width, out.ptr<std::uint8_t>() + y * width);
    }
  });
}

// 1 MB: half of a second-level cache. At least 16 rows are made before the strip moves.
CascadeStrip::CascadeStrip(const CascadeLayout& layout, std::int64_t window_height, std::int64_t max_width)
    : layout_(layout),
      window_height_(window_height),
      capacity_(window_height + 1 + std::clamp<std::int64_t>((1 << 18) / layout.row - window_height, 16, 64)),
      rows_(static_cast<std::size_t>(capacity_ * layout.row + kCascadePadding)),
      pairs_(static_cast<std::size_t>(max_width)),
      pixels_{Scratch<std::uint8_t>(static_cast<std::size_t>(max_width)),
              Scratch<std::uint8_t>(static_cast<std::size_t>(max_width))} {
  std::memset(rows_.data(), 0, rows_.size() * sizeof(std::uint32_t));
}

void CascadeStrip::start(const GreyImage& image, const CascadeLevel& level, std::int64_t y) {
  image_ = &image;
  level_ = &level;
  top_ = y;
  next_ = y + 1;
  last_pixels_ = nullptr;
  std::memset(slot(y), 0, static_cast<std::size_t>(layout_.row) * sizeof(std::uint32_t));
}

const std::uint32_t* CascadeStrip::window_row(std::int64_t y) {
  const std::int64_t end = y + window_height_ + 1;
  if (end - top_ > capacity_) {
    std::memmove(rows_.data(), slot(y), static_cast<std::size_t>((next_ - y) * layout_.row) * sizeof(std::uint32_t));
    top_ = y;
  }
  while (next_ < end) make_row();
  return slot(y);
}

const std::uint8_t* CascadeStrip::level_row(std::int64_t y, std::uint8_t* buffer) {
  if (level_->width == image_->width && level_->height == image_->height) return image_->row(y);
  const auto& kernels = cascade_level_kernels();
  const std::size_t at = static_cast<std::size_t>(y);
  const std::int64_t above = level_->row_index[at], below = std::min(above + 1, image_->height - 1);
  kernels.blend_rows(image_->row(above), image_->row(below), level_->row_weight[at], image_->width, pairs_.data());
  kernels.sample_row(pairs_.data(), level_->index.data(), level_->weight.data(), level_->width, buffer);
  return buffer;
}

void CascadeStrip::make_row() {
  const std::int64_t y = next_ - 1;  // the row of pixels that integral row next_ adds
  const std::uint8_t* pixels = level_row(y, pixels_[y & 1].data());
  CascadeIntegralRow r{};
  r.pixels = pixels;
  r.width = level_->width;
  r.step = layout_.step;
  r.half = layout_.half;
  r.squares = layout_.squares;
  r.above = slot(y);
  r.row = slot(next_);
  if (layout_.tilted != 0 && last_pixels_ != nullptr) {
    r.tilted = layout_.tilted;
    r.pixels_above = last_pixels_;
    r.above2 = slot(y - 1);
  }
  cascade_level_kernels().integral_row(r);
  if (layout_.tilted != 0 && last_pixels_ == nullptr) {
    // The strip's first row: T(x, 1) is the pixel to the left.
    std::uint32_t* row = slot(next_) + layout_.tilted;
    row[0] = 0;
    for (std::int64_t x = 0; x < r.width; ++x) row[layout_.column(x + 1)] = pixels[x];
  }
  last_pixels_ = pixels;
  ++next_;
}

}  // namespace saccade
