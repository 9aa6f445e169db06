#include "ops/box_filter.h"

#include <algorithm>

#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/box_filter.h"
#include "kernels/box_filter_u8.h"
#include "math/border.h"
#include "ops/checks.h"

namespace saccade {

void check_box_filter(const char* op, const TensorView& image, std::int64_t rows, std::int64_t columns) {
  require(image.ndim >= 2, op, ": image must have shape (..., H, W), got ", shape_string(image));
  require_type(image.dtype == DType::kUInt8 || image.dtype == DType::kFloat32 || image.dtype == DType::kFloat64, op,
               ": image must be uint8, float32 or float64, got ", dtype_name(image.dtype));
  require(rows >= 1 && columns >= 1 && rows <= kMaxBoxSide && columns <= kMaxBoxSide, op,
          ": size must be from 1 to 4095, got (", rows, ", ", columns, ")");
}

namespace {

constexpr std::int64_t kMaxParts = 8;  // of the columns; 151 x 151 in eight is three times as fast as by blocks

// One image of the batch; rows [first, last) of its output in blocks of the window's height.
template <class T>
class Blocks {
  using Sum = typename BoxFilterKernels<T>::Sum;

 public:
  Blocks(const TensorView& image, const T* pixels, std::int64_t rows, std::int64_t columns,
         const BoxFilterKernels<T>& kernels)
      : image_(image),
        pixels_(pixels),
        rows_(rows),
        columns_(columns),
        height_(image.size(-2)),
        width_(image.size(-1)),
        kernels_(kernels),
        from_here_(static_cast<std::size_t>(std::min(rows, height_) * width_)),
        below_(static_cast<std::size_t>(width_)),
        line_(static_cast<std::size_t>(width_)),
        sums_(static_cast<std::size_t>(3 * (width_ + columns))) {}

  void run(std::int64_t block, T* out) {
    const std::int64_t top = block * rows_, count = std::min(rows_, height_ - top);
    // from_here_[j]: rows top + j to the end of the block.
    const Sum* sum = nullptr;
    for (std::int64_t j = rows_ - 1; j >= 0; --j) {
      Sum* to = from_here_.data() + std::min(j, count - 1) * width_;
      kernels_.add_row(sum, row(top + j), width_, to);
      sum = to;
    }
    const std::int64_t left = columns_ / 2, length = width_ + columns_;
    for (std::int64_t j = 0; j < count; ++j) {
      if (j > 0) kernels_.add_row(j > 1 ? below_.data() : nullptr, row(top + rows_ + j - 1), width_, below_.data());
      Sum* center = sums_.data() + left;
      const Sum* upper = from_here_.data() + j * width_;
      if (j > 0)
        kernels_.add_rows(upper, below_.data(), width_, center);
      else
        std::copy_n(upper, width_, center);
      kernels_.finish_row(sums_.data(), left, width_, columns_, static_cast<double>(rows_ * columns_),
                          sums_.data() + length, sums_.data() + 2 * length, out + (top + j) * width_);
    }
  }

 private:
  // Row `e` of the image extended upwards by rows / 2, its pixels adjacent.
  const T* row(std::int64_t e) {
    const T* from = pixels_ + reflect_101(e - rows_ / 2, height_) * image_.stride(-2);
    if (image_.stride(-1) == 1) return from;
    for (std::int64_t x = 0; x < width_; ++x) line_[static_cast<std::size_t>(x)] = from[x * image_.stride(-1)];
    return line_.data();
  }

  const TensorView& image_;
  const T* pixels_;
  std::int64_t rows_, columns_, height_, width_;
  const BoxFilterKernels<T>& kernels_;
  Scratch<Sum> from_here_, below_;
  Scratch<T> line_;
  Scratch<Sum> sums_;
};

// The window, its span being 0 where sums and differences do not keep within 16 bits.
BoxWindowU8 moving_window(std::int64_t width, std::int64_t rows, std::int64_t columns) {
  BoxWindowU8 window{};
  const std::int64_t area = rows * columns;
  window.whole = 255 * area + area / 2 < 65535;
  if (window.whole) window.span = columns;
  // A state, divide.add included, is at most lift * area + area < 255 * span + 2 * area; a difference, 255 * span.
  for (std::int64_t parts = 1; parts <= kMaxParts && window.span == 0; ++parts) {
    const std::int64_t span = (columns + parts - 1) / parts;
    if (2 * area + 2 * 255 * span < 65536) window.span = span;
  }
  if (window.span == 0) return window;
  window.width = width;
  window.columns = columns;
  window.area = static_cast<std::uint16_t>(area);
  window.lift = static_cast<std::uint16_t>(window.whole ? 0 : (255 * window.span + area - 1) / area);
  window.divide = divide16(window.area);
  return window;
}

// One image of the batch, row after row (McDonnell 1981).
class MovingMeans {
 public:
  MovingMeans(const TensorView& image, const std::uint8_t* pixels, std::int64_t rows, const BoxWindowU8& window,
              const BoxU8Kernels& kernels)
      : image_(image),
        pixels_(pixels),
        rows_(rows),
        height_(image.size(-2)),
        window_(window),
        kernels_(kernels),
        line_(static_cast<std::size_t>(window.width + window.columns + 2 * kBoxU8Slack)),
        states_(static_cast<std::size_t>(window.width + kBoxU8Slack)),
        means_(static_cast<std::size_t>(window.width + kBoxU8Slack)),
        entering_(image.stride(-1) == 1 ? 0 : static_cast<std::size_t>(window.width)),
        leaving_(entering_.size()) {
    std::fill_n(line_.data(), line_.size(), std::uint16_t{0});
  }

  // Rows [first, last) of the output.
  void run(std::int64_t first, std::int64_t last, std::uint8_t* out) {
    std::uint16_t* line = line_.data() + kBoxU8Slack;
    const std::int64_t lifted = window_.lift * window_.area;
    std::fill_n(states_.data(), states_.size(),
                static_cast<std::uint16_t>(lifted + window_.area / 2 + window_.divide.add));
    std::fill_n(means_.data(), means_.size(), std::uint8_t{0});
    // The first windows, as many rows at once as keep within 16 bits.
    const std::int64_t together = window_.whole ? rows_ : (65535 - lifted - window_.area) / (255 * window_.span);
    for (std::int64_t j = 0; j < rows_;) {
      const std::int64_t begin = j;
      for (; j < std::min(rows_, begin + together); ++j)
        kernels_.difference(window_, row(first + j, entering_), nullptr, j > begin, line);
      kernels_.move(window_, line, states_.data(), means_.data(),
                    j < rows_ ? means_.data() : out + first * window_.width);
    }
    for (std::int64_t y = first + 1; y < last; ++y) {
      kernels_.difference(window_, row(y + rows_ - 1, entering_), row(y - 1, leaving_), false, line);
      kernels_.move(window_, line, states_.data(), means_.data(), out + y * window_.width);
    }
  }

 private:
  // Row `e` of the image extended upwards by rows / 2, its pixels adjacent.
  const std::uint8_t* row(std::int64_t e, const Scratch<std::uint8_t>& line) const {
    const std::uint8_t* from = pixels_ + reflect_101(e - rows_ / 2, height_) * image_.stride(-2);
    if (image_.stride(-1) == 1) return from;
    for (std::int64_t x = 0; x < window_.width; ++x) line[static_cast<std::size_t>(x)] = from[x * image_.stride(-1)];
    return line.data();
  }

  const TensorView& image_;
  const std::uint8_t* pixels_;
  std::int64_t rows_, height_;
  const BoxWindowU8& window_;
  const BoxU8Kernels& kernels_;
  Scratch<std::uint16_t> line_, states_;
  Scratch<std::uint8_t> means_, entering_, leaving_;
};

template <class T>
const T* image_at(const TensorView& batch, std::int64_t index) {
  const T* pixels = batch.ptr<T>();
  for (std::int64_t rest = index, d = batch.ndim - 3; d >= 0; rest /= batch.sizes[d], --d)
    pixels += rest % batch.sizes[d] * batch.strides[d];
  return pixels;
}

void run_moving(const TensorView& image, std::int64_t rows, const BoxWindowU8& window, const TensorView& out) {
  if (image.numel() == 0) return;
  const std::int64_t height = image.size(-2), width = window.width;
  const BoxU8Kernels& kernels = box_u8_kernels();
  // A piece of the image starts with `rows` rows for its first windows, which cost less than half of what others do.
  const std::int64_t grain = std::max(rows, 16384 / width + 1);
  parallel_for(image.numel() / width, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t y = begin; y < end;) {
      const std::int64_t index = y / height, top = index * height, last = std::min(end, top + height);
      MovingMeans work(image, image_at<std::uint8_t>(image, index), rows, window, kernels);
      work.run(y - top, last - top, out.ptr<std::uint8_t>() + top * width);
      y = last;
    }
  });
}

template <class T>
void run_batch(const TensorView& image, std::int64_t rows, std::int64_t columns, const TensorView& out,
               const BoxFilterKernels<T>& kernels) {
  const std::int64_t height = image.size(-2), width = image.size(-1);
  if (image.numel() == 0) return;
  const std::int64_t batch = image.numel() / (height * width), blocks = (height + rows - 1) / rows;
  const std::int64_t grain = std::max<std::int64_t>(1, 16384 / (std::min(rows, height) * width));
  parallel_for(batch * blocks, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end;) {
      const std::int64_t index = i / blocks;
      Blocks<T> work(image, image_at<T>(image, index), rows, columns, kernels);
      for (; i < end && i / blocks == index; ++i) work.run(i % blocks, out.ptr<T>() + index * height * width);
    }
  });
}

}  // namespace

void box_filter(const TensorView& image, std::int64_t rows, std::int64_t columns, const TensorView& out) {
  check_box_filter("box_filter", image, rows, columns);
  if (image.dtype == DType::kUInt8) {
    const BoxWindowU8 window = moving_window(image.size(-1), rows, columns);
    if (window.span > 0) return run_moving(image, rows, window, out);
  }
  const BoxKernels& kernels = box_kernels();
  switch (image.dtype) {
    case DType::kUInt8: return run_batch(image, rows, columns, out, kernels.u8);
    case DType::kFloat32: return run_batch(image, rows, columns, out, kernels.f32);
    default: return run_batch(image, rows, columns, out, kernels.f64);
  }
}

}  // namespace saccade
