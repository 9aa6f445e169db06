#include "ops/hog.h"

#include <omp.h>

#include <cmath>

#include "common/parallel.h"
#include "common/scratch.h"
#include "ops/checks.h"

namespace saccade {

namespace {

template <class T>
class Gradients {
 public:
  Gradients(const TensorView& planes, const HogCells& cells)
      : image_{planes.ptr<const T>(), planes.size(0), planes.size(1), planes.size(2)}, bins_(cells.bins) {
    for (std::int64_t k = 1; k < bins_; ++k) {
      const double edge = kPi * static_cast<double>(k) / static_cast<double>(bins_);
      cosines_.push_back(std::cos(edge));
      sines_.push_back(std::sin(edge));
    }
  }

  void row(void (*kernel)(const HogGradientRow&), std::int64_t y, double* magnitude, std::int32_t* bin) const {
    const std::int64_t width = image_.width;
    std::vector<const void*> rows;
    for (std::int64_t c = 0; c < image_.channels; ++c) rows.push_back(image_.data + (c * image_.height + y) * width);
    const bool border = y == 0 || y == image_.height - 1;
    HogGradientRow r{};
    r.rows = rows.data();
    r.channels = static_cast<int>(image_.channels);
    r.above = border ? 0 : -width;
    r.below = border ? 0 : width;
    r.width = width;
    r.bins = static_cast<int>(bins_);
    r.cosines = cosines_.data();
    r.sines = sines_.data();
    r.magnitude = magnitude;
    r.bin = bin;
    const bool narrow = width < kHogWidth;
    if (!narrow) kernel(r);
    for (std::int64_t x = 0; x < width; ++x)
      if (narrow || x == 0 || x == width - 1 || bin[x] == kHogUnsure) {
        const HogVote vote = hog_exact_vote(image_, y, x, bins_);
        magnitude[x] = vote.magnitude;
        bin[x] = vote.bin;
      }
  }

 private:
  static constexpr double kPi = 3.14159265358979323846;
  HogPlanes<T> image_;
  std::int64_t bins_;
  std::vector<double> cosines_, sines_;
};

void add(float* histogram, std::int64_t bins, std::int32_t bin, double magnitude) {
  if (bin >= 0) {
    histogram[bin] = hog_add(histogram[bin], magnitude);
  } else if (bin == kHogAllBins) {
    for (std::int64_t b = 0; b < bins; ++b) histogram[b] = hog_add(histogram[b], magnitude);
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

// The first image of a batch.
TensorView first_of(TensorView view) {
  --view.ndim;
  for (int d = 0; d < view.ndim; ++d) {
    view.sizes[d] = view.sizes[d + 1];
    view.strides[d] = view.strides[d + 1];
  }
  return view;
}

}  // namespace

void check_hog(const TensorView& image, int ndim, const HogCells& cells, HogNorm norm) {
  require(image.ndim == ndim && image.size(-3) >= 1, "hog: image must have shape ",
          ndim == 3 ? "(C, H, W)" : "(N, C, H, W)", " with a channel at least, got ", shape_string(image));
  require_type(image.dtype == DType::kUInt8 || image.dtype == DType::kFloat32 || image.dtype == DType::kFloat64,
               "hog: image must be uint8, float32 or float64, got ", dtype_name(image.dtype));
  require(norm >= HogNorm::kL1 && norm <= HogNorm::kL2Hys, "hog: block_norm must be from 0 to 3, got ",
          static_cast<int>(norm));
  require(cells.bins >= 1 && cells.bins <= 1 << 16, "hog: orientations must be from 1 to 65536, got ", cells.bins);
  const std::int64_t limit = std::int64_t{1} << 30;
  const auto in_range = [&](const std::int64_t (&size)[2]) {
    return size[0] >= 1 && size[1] >= 1 && size[0] <= limit && size[1] <= limit;
  };
  require(in_range(cells.cell), "hog: pixels_per_cell must be from 1 to 2^30, got (", cells.cell[0], ", ",
          cells.cell[1], ")");
  require(in_range(cells.block), "hog: cells_per_block must be from 1 to 2^30, got (", cells.block[0], ", ",
          cells.block[1], ")");
  require(image.size(-2) / cells.cell[0] >= cells.block[0] && image.size(-1) / cells.cell[1] >= cells.block[1],
          "hog: image must have at least ", cells.block[0] * cells.cell[0], " rows and ",
          cells.block[1] * cells.cell[1], " columns, got ", image.size(-2), " and ", image.size(-1));
}

std::vector<std::int64_t> hog_shape(const TensorView& images, const HogCells& cells) {
  return {images.size(0),
          images.size(2) / cells.cell[0] - cells.block[0] + 1,
          images.size(3) / cells.cell[1] - cells.block[1] + 1,
          cells.block[0],
          cells.block[1],
          cells.bins};
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

void hog(const TensorView& images, const HogCells& cells, HogNorm norm, const TensorView& blocks) {
  const std::int64_t count = images.size(0), rows = images.size(2) / cells.cell[0],
                     columns = images.size(3) / cells.cell[1];
  const auto bytes = [](const TensorView& view, std::int64_t from) {
    return view.ptr<char>() + from * static_cast<std::int64_t>(dtype_size(view.dtype));
  };
  const auto run_images = [&](std::int64_t begin, std::int64_t end) {
    const Scratch<double> sums(static_cast<std::size_t>(rows * columns * cells.bins));
    TensorView planes = first_of(images), histogram, out = first_of(blocks);
    histogram.data = sums.data();
    histogram.dtype = DType::kFloat64;
    histogram.ndim = 3;
    histogram.sizes[0] = rows, histogram.sizes[1] = columns, histogram.sizes[2] = cells.bins;
    for (std::int64_t i = begin; i < end; ++i) {
      planes.data = bytes(images, i * planes.numel());
      out.data = bytes(blocks, i * out.numel());
      hog_histogram(planes, cells, histogram);
      hog_blocks(histogram, cells, norm, out);
    }
  };
  // Of few images the threads share the rows: with 2 of 3 images left over, one thread would wait.
  if (count >= 4 * omp_get_max_threads())
    parallel_for(count, 1, run_images);
  else
    run_images(0, count);
}

}  // namespace saccade
