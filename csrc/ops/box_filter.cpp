#include "ops/box_filter.h"

#include <algorithm>

#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/box_filter.h"
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
      const T* pixels = image.ptr<T>();
      for (std::int64_t rest = index, d = image.ndim - 3; d >= 0; rest /= image.sizes[d], --d)
        pixels += rest % image.sizes[d] * image.strides[d];
      Blocks<T> work(image, pixels, rows, columns, kernels);
      for (; i < end && i / blocks == index; ++i) work.run(i % blocks, out.ptr<T>() + index * height * width);
    }
  });
}

}  // namespace

void box_filter(const TensorView& image, std::int64_t rows, std::int64_t columns, const TensorView& out) {
  check_box_filter("box_filter", image, rows, columns);
  const BoxKernels& kernels = box_kernels();
  switch (image.dtype) {
    case DType::kUInt8: return run_batch(image, rows, columns, out, kernels.u8);
    case DType::kFloat32: return run_batch(image, rows, columns, out, kernels.f32);
    default: return run_batch(image, rows, columns, out, kernels.f64);
  }
}

}  // namespace saccade
