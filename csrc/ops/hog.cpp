#include "ops/hog.h"

#include <cmath>
#include <vector>

#include "common/parallel.h"
#include "common/scratch.h"
#include "ops/checks.h"

namespace saccade {

namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr std::int32_t kNone = -2, kAll = -3;

// The orientation of one gradient by its angle, step by step as NumPy does it.
std::int32_t exact_bin(double dx, double dy, std::int64_t bins) {
  double angle = std::fmod(std::atan2(dy, dx) * (180.0 / kPi), 180.0);
  if (angle < 0) angle += 180.0;
  if (std::isnan(angle)) return kAll;
  const double width = 180.0 / static_cast<double>(bins);
  for (std::int64_t b = 0; b < bins; ++b)
    if (angle >= width * static_cast<double>(b) && angle < width * static_cast<double>(b + 1))
      return static_cast<std::int32_t>(b);
  return kNone;
}

template <class T>
class Gradients {
 public:
  Gradients(const TensorView& planes, const HogCells& cells)
      : data_(planes.ptr<const T>()),
        channels_(planes.size(0)),
        height_(planes.size(1)),
        width_(planes.size(2)),
        bins_(cells.bins) {
    for (std::int64_t k = 1; k < bins_; ++k) {
      const double edge = kPi * static_cast<double>(k) / static_cast<double>(bins_);
      cosines_.push_back(std::cos(edge));
      sines_.push_back(std::sin(edge));
    }
  }

  void row(void (*kernel)(const HogGradientRow&), std::int64_t y, double* magnitude, std::int32_t* bin) const {
    std::vector<const void*> rows;
    for (std::int64_t c = 0; c < channels_; ++c) rows.push_back(at(c, y, 0));
    const bool border = y == 0 || y == height_ - 1;
    HogGradientRow r{};
    r.rows = rows.data();
    r.channels = static_cast<int>(channels_);
    r.above = border ? 0 : -width_;
    r.below = border ? 0 : width_;
    r.width = width_;
    r.bins = static_cast<int>(bins_);
    r.cosines = cosines_.data();
    r.sines = sines_.data();
    r.magnitude = magnitude;
    r.bin = bin;
    const bool narrow = width_ < kHogWidth;
    if (!narrow) kernel(r);
    for (std::int64_t x = 0; x < width_; ++x)
      if (narrow || x == 0 || x == width_ - 1 || bin[x] == kHogUnsure) exact(x, y, magnitude[x], bin[x]);
  }

 private:
  const T* at(std::int64_t c, std::int64_t y, std::int64_t x) const { return data_ + (c * height_ + y) * width_ + x; }

  void exact(std::int64_t x, std::int64_t y, double& magnitude, std::int32_t& bin) const {
    using F = std::conditional_t<sizeof(T) == 4, float, double>;
    F dx = 0, dy = 0, largest = 0;
    for (std::int64_t c = 0; c < channels_; ++c) {
      const T* p = at(c, y, x);
      const F gx = x == 0 || x == width_ - 1 ? F{0} : static_cast<F>(p[1]) - static_cast<F>(p[-1]);
      const F gy = y == 0 || y == height_ - 1 ? F{0} : static_cast<F>(p[width_]) - static_cast<F>(p[-width_]);
      const F length = std::hypot(gx, gy);
      // The first of the largest, and a NaN is larger than all.
      if (c == 0 || length > largest || (std::isnan(length) && !std::isnan(largest)))
        dx = gx, dy = gy, largest = length;
    }
    magnitude = std::hypot(static_cast<double>(dx), static_cast<double>(dy));
    bin = exact_bin(static_cast<double>(dx), static_cast<double>(dy), bins_);
  }

  const T* data_;
  std::int64_t channels_, height_, width_, bins_;
  std::vector<double> cosines_, sines_;
};

void add(float* histogram, std::int64_t bins, std::int32_t bin, double magnitude) {
  if (bin >= 0) {
    histogram[bin] = static_cast<float>(static_cast<double>(histogram[bin]) + magnitude);
  } else if (bin == kAll) {
    for (std::int64_t b = 0; b < bins; ++b)
      histogram[b] = static_cast<float>(static_cast<double>(histogram[b]) + magnitude);
  }
}

template <class T>
void run(const TensorView& planes, const HogCells& cells, const TensorView& histogram,
         void (*kernel)(const HogGradientRow&)) {
  const Gradients<T> gradients(planes, cells);
  const std::int64_t columns = histogram.size(1), bins = cells.bins, width = planes.size(2);
  const auto area = static_cast<float>(cells.cell[0] * cells.cell[1]);
  parallel_for(histogram.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    const Scratch<double> magnitude(static_cast<std::size_t>(width));
    const Scratch<std::int32_t> bin(static_cast<std::size_t>(width));
    std::vector<float> sums(static_cast<std::size_t>(columns * bins));
    for (std::int64_t row = begin; row < end; ++row) {
      sums.assign(sums.size(), 0.f);
      for (std::int64_t y = row * cells.cell[0]; y < (row + 1) * cells.cell[0]; ++y) {
        gradients.row(kernel, y, magnitude.data(), bin.data());
        for (std::int64_t c = 0; c < columns; ++c)
          for (std::int64_t i = c * cells.cell[1]; i < (c + 1) * cells.cell[1]; ++i)
            add(sums.data() + c * bins, bins, bin[static_cast<std::size_t>(i)], magnitude[static_cast<std::size_t>(i)]);
      }
      double* out = histogram.ptr<double>() + row * columns * bins;
      for (std::size_t i = 0; i < sums.size(); ++i) out[i] = static_cast<double>(sums[i] / area);
    }
  });
}

}  // namespace

void check_hog(const TensorView& planes, const HogCells& cells) {
  require(planes.ndim == 3 && planes.size(0) >= 1 && planes.is_contiguous(),
          "hog: image must have shape (C, H, W), got ", shape_string(planes));
  require_type(planes.dtype == DType::kUInt8 || planes.dtype == DType::kFloat32 || planes.dtype == DType::kFloat64,
               "hog: image must be uint8, float32 or float64, got ", dtype_name(planes.dtype));
  require(cells.bins >= 1 && cells.bins <= 1 << 16, "hog: orientations must be from 1 to 65536, got ", cells.bins);
  const std::int64_t limit = std::int64_t{1} << 30;
  const auto in_range = [&](const std::int64_t (&size)[2]) {
    return size[0] >= 1 && size[1] >= 1 && size[0] <= limit && size[1] <= limit;
  };
  require(in_range(cells.cell), "hog: pixels_per_cell must be from 1 to 2^30, got (", cells.cell[0], ", ",
          cells.cell[1], ")");
  require(in_range(cells.block), "hog: cells_per_block must be from 1 to 2^30, got (", cells.block[0], ", ",
          cells.block[1], ")");
  require(planes.size(1) / cells.cell[0] >= cells.block[0] && planes.size(2) / cells.cell[1] >= cells.block[1],
          "hog: image must have at least ", cells.block[0] * cells.cell[0], " rows and ",
          cells.block[1] * cells.cell[1], " columns, got ", planes.size(1), " and ", planes.size(2));
}

void hog_histogram(const TensorView& planes, const HogCells& cells, const TensorView& histogram) {
  const HogKernels& kernels = hog_kernels();
  switch (planes.dtype) {
    case DType::kUInt8: return run<std::uint8_t>(planes, cells, histogram, kernels.gradients_u8);
    case DType::kFloat32: return run<float>(planes, cells, histogram, kernels.gradients_f32);
    default: return run<double>(planes, cells, histogram, kernels.gradients_f64);
  }
}

void hog_blocks(const TensorView& histogram, const HogCells& cells, HogNorm norm, const TensorView& blocks) {
  const std::int64_t columns = histogram.size(1), bins = cells.bins, across = blocks.size(1);
  const std::int64_t values = cells.block[0] * cells.block[1] * bins;
  const auto normalise = hog_kernels().normalise;
  parallel_for(blocks.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    const Scratch<double> row(blocks.dtype == DType::kFloat32 ? static_cast<std::size_t>(values) : 0);
    for (std::int64_t y = begin; y < end; ++y)
      for (std::int64_t x = 0; x < across; ++x) {
        const std::int64_t at = (y * across + x) * values;
        const double* from = histogram.ptr<double>() + (y * columns + x) * bins;
        HogBlock b{from, cells.block[0], cells.block[1] * bins, columns * bins, norm, row.data()};
        if (blocks.dtype == DType::kFloat64) b.out = blocks.ptr<double>() + at;
        normalise(b);
        if (blocks.dtype == DType::kFloat32)
          for (std::int64_t i = 0; i < values; ++i)
            blocks.ptr<float>()[at + i] = static_cast<float>(row[static_cast<std::size_t>(i)]);
      }
  });
}

}  // namespace saccade
