#include "ops/grab_cut.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/grab_cut.h"
#include "ops/checks.h"
#include "ops/grab_mixture.h"
#include "ops/grid_cut.h"

namespace saccade {
namespace {

constexpr const char* kOp = "grab_cut";
constexpr double kGamma = 50, kHard = 9 * kGamma;
constexpr int kRounds = 3;
constexpr std::int64_t kBlock = 8192;  // pixels; a multiple of every register

class Segmentation {
 public:
  Segmentation(const TensorView& image, const TensorView& mask);
  void initialise(GrabMixture* sides, std::uint64_t seed);
  void fit(GrabMixture* sides);
  void cut(const GrabMixture* sides);

 private:
  std::int64_t height_, width_, pixels_;
  std::uint8_t* mask_;
  const GrabCutKernels& kernels_ = grab_cut_kernels();
  Scratch<std::uint8_t> planes_memory_, component_, labels_, sides_;
  Scratch<std::int32_t> excess_, previous_, weights_;
  GridCutWorkspace workspace_;
  bool resume_ = false;
  GrabPlanes planes_;

  template <class Body>
  void for_blocks(const Body& body) {
    parallel_for_dynamic(pixels_, kBlock, body);
  }
  double beta() const;
  void contrast();
  void assign(const GrabSide* near, GrabMixture* sides);
};

Segmentation::Segmentation(const TensorView& image, const TensorView& mask)
    : height_(image.size(0)),
      width_(image.size(1)),
      pixels_(height_ * width_),
      mask_(mask.ptr<std::uint8_t>()),
      planes_memory_(static_cast<std::size_t>(3 * (pixels_ + width_ + 1 + kGrabPadding))),
      component_(static_cast<std::size_t>(pixels_ + kGrabPadding)),
      labels_(static_cast<std::size_t>(pixels_)),
      sides_(static_cast<std::size_t>(pixels_ + kGrabPadding)),
      excess_(static_cast<std::size_t>(pixels_)),
      previous_(static_cast<std::size_t>(pixels_)),
      weights_(static_cast<std::size_t>(4 * pixels_)) {
  const std::int64_t plane = pixels_ + width_ + 1 + kGrabPadding;
  std::uint8_t* at = planes_memory_.data();
  planes_ = {at, at + plane, at + 2 * plane};
  parallel_for(height_, 32, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t y = begin; y < end; ++y)
      for (int c = 0; c < 3; ++c) {
        const std::uint8_t* row = image.ptr<std::uint8_t>() + y * image.stride(0) + c * image.stride(2);
        for (std::int64_t x = 0; x < width_; ++x) at[c * plane + y * width_ + x] = row[x * image.stride(1)];
      }
  });
  for (int c = 0; c < 3; ++c) std::fill_n(at + c * plane + pixels_, plane - pixels_, std::uint8_t{0});
  std::fill_n(sides_.data() + pixels_, kGrabPadding, std::uint8_t{0});
  contrast();
}

double Segmentation::beta() const {
  std::vector<std::uint64_t> rows(static_cast<std::size_t>(height_), 0);
  parallel_for_dynamic(height_, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t y = begin; y < end; ++y)
      for (int k = 0; k < 4; ++k) {
        const GridStep step = grid_step(8, k);
        if (y + step.y >= height_) continue;
        const std::int64_t row = y * width_, from = row + (step.x < 0), to = row + width_ - (step.x > 0);
        for (std::int64_t i = from; i < to; i += kBlock)
          rows[static_cast<std::size_t>(y)] +=
              kernels_.differences(planes_, i, std::min(i + kBlock, to), step.y * width_ + step.x);
      }
  });
  std::uint64_t sum = 0;
  for (const std::uint64_t row : rows) sum += row;
  const double pairs = static_cast<double>(4 * pixels_ - 3 * width_ - 3 * height_ + 2);
  return sum == 0 ? 0.0 : pairs / (2 * static_cast<double>(sum));
}

// What lies past a row's end has a weight too, which nobody reads.
void Segmentation::contrast() {
  const auto beta = static_cast<float>(this->beta());
  for_blocks([&](std::int64_t begin, std::int64_t end) {
    for (int k = 0; k < 4; ++k) {
      const GridStep step = grid_step(8, k);
      const double length = std::sqrt(static_cast<double>(step.y * step.y + step.x * step.x));
      kernels_.weights(planes_, begin, end, step.y * width_ + step.x, beta,
                       static_cast<float>(kGamma * static_cast<double>(kGrabScale) / length),
                       weights_.data() + k * pixels_);
    }
  });
}

// Gives every pixel its component, and fits the mixtures to them. Also copies the mask to where kernels may read past
// its end.
void Segmentation::assign(const GrabSide* near, GrabMixture* sides) {
  std::copy_n(mask_, pixels_, sides_.data());
  std::vector<GrabSums> blocks(static_cast<std::size_t>((pixels_ + kBlock - 1) / kBlock));
  for_blocks([&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; i += kBlock) {
      const std::int64_t stop = std::min(i + kBlock, end);
      kernels_.assign(planes_, sides_.data(), i, stop, near, component_.data());
      blocks[static_cast<std::size_t>(i / kBlock)].add(planes_, component_.data(), i, stop);
    }
  });
  learn(blocks, sides);
}

void Segmentation::fit(GrabMixture* sides) {
  const GrabSide packed[] = {sides[0].packed(), sides[1].packed()};
  assign(packed, sides);
}

void Segmentation::initialise(GrabMixture* sides, std::uint64_t seed) {
  GrabSide nearest[2];
  for (int side = 0; side < 2; ++side) nearest[side] = cluster(planes_, mask_, pixels_, side, seed);
  assign(nearest, sides);
}

void Segmentation::cut(const GrabMixture* sides) {
  const GrabSide packed[] = {sides[0].packed(), sides[1].packed()};
  for_blocks([&](std::int64_t begin, std::int64_t end) {
    kernels_.unary(planes_, sides_.data(), begin, end, packed, static_cast<float>(kHard) * kGrabScale, excess_.data());
  });
  GridCut<std::int32_t> run{};
  run.depth = 1, run.height = height_, run.width = width_;
  run.neighbours = 8;
  run.cost0 = excess_.data();
  run.weights = weights_.data();
  run.labels = labels_.data();
  run.cost1 = resume_ ? previous_.data() : nullptr;
  run.resume = resume_;
  grid_cut(run, workspace_);
  std::swap(excess_, previous_);
  resume_ = true;
  for (std::int64_t i = 0; i < pixels_; ++i)
    if (mask_[i] >= 2) mask_[i] = static_cast<std::uint8_t>(2 + labels_[static_cast<std::size_t>(i)]);
}

}  // namespace

void check_grab_cut(const TensorView& image, const TensorView& mask, const GrabCutOptions& options) {
  require_shape(kOp, "image", image, "(H, W, 3)", {-1, -1, 3});
  require_dtype(kOp, "image", image, DType::kUInt8);
  require_dtype(kOp, "mask", mask, DType::kUInt8);
  require(mask.ndim == 2 && mask.size(0) == image.size(0) && mask.size(1) == image.size(1), kOp,
          ": mask must have shape (H, W) of the image, got ", shape_string(mask), " for ", shape_string(image));
  require(mask.is_contiguous(), kOp, ": mask must be contiguous");
  require(options.iterations >= 0, kOp, ": iterations must be at least 0, got ", options.iterations);
  require((image.size(0) + 2) * (image.size(1) + 2) < std::int64_t{1} << 31, kOp,
          ": image must have fewer than 2^31 pixels, got ", shape_string(image));
  std::int64_t count[4] = {};
  for (std::int64_t i = 0; i < mask.numel(); ++i) {
    const std::uint8_t m = mask.ptr<std::uint8_t>()[i];
    require(m < 4, kOp, ": mask must hold 0, 1, 2 and 3, got ", static_cast<int>(m));
    ++count[m];
  }
  const std::int64_t back = count[0] + count[2], front = count[1] + count[3];
  require(options.given || (back > 0 && front > 0), kOp,
          ": mask must hold pixels of the background and of the foreground, got ", back, " and ", front);
}

void grab_cut(const TensorView& image, const TensorView& mask, const GrabCutOptions& options, double* background,
              double* foreground) {
  GrabMixture sides[2];
  if (options.given) sides[0].read(kOp, "bgd_model", background), sides[1].read(kOp, "fgd_model", foreground);
  if (image.size(0) == 0 || image.size(1) == 0) return;
  Segmentation segmentation(image, mask);
  if (!options.given) segmentation.initialise(sides, options.seed);
  for (std::int64_t i = 0; i < options.iterations; ++i) {
    for (int round = 0; round < kRounds; ++round) segmentation.fit(sides);
    segmentation.cut(sides);
  }
  sides[0].write(background), sides[1].write(foreground);
}

}  // namespace saccade
