#include "ops/selective_search.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "common/parallel.h"
#include "common/scratch.h"
#include "ops/checks.h"
#include "ops/felzenszwalb.h"
#include "ops/gaussian_planes.h"
#include "ops/region_grouping.h"

namespace saccade {
namespace {

constexpr const char* kOp = "selective_search";
constexpr std::int64_t kMaxPixels = std::int64_t{1} << 26;  // counts of merged histograms stay within 32 bits
constexpr std::int64_t kBand = 1 << 14;                     // pixels that a thread takes at once
constexpr int kAxes = 4;
constexpr double kTextureSigma = 1.0;

struct Found {
  Box box;
  double priority;
  std::int64_t number;  // in the order of strategies and regions: nothing is left to chance among equals
};

// Vigna's splitmix64: a random number for each counter.
std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

double random_of(std::uint64_t seed, std::uint64_t strategy, std::uint64_t region) {
  return static_cast<double>((mixed(mixed(mixed(seed) + strategy) + region) >> 11) + 1) * 0x1p-53;
}

// Colour levels, smoothed levels in units of 1 / 255, and gradient bins of one colour space.
struct Pixels {
  std::int64_t channels;
  Scratch<std::uint8_t> colors, textures;
  Scratch<double> smoothed;

  Pixels(const TensorView& image, ColorSpace space, double sigma)
      : channels(channels_of(space)),
        colors(static_cast<std::size_t>(channels * image.size(0) * image.size(1))),
        textures(colors.size() * kAxes),
        smoothed(colors.size()) {
    const std::int64_t h = image.size(0), w = image.size(1), n = h * w;
    color_planes(image, space, colors.data());
    parallel_for(channels * n, kBand, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) smoothed[i] = colors[i] * (1.0 / 255);
    });
    const GaussianFilter blur(kTextureSigma, 0), slope(kTextureSigma, 1);
    const Scratch<double> gx(static_cast<std::size_t>(n)), gy(static_cast<std::size_t>(n));
    const RegionFeatureKernels& kernels = region_feature_kernels();
    for (std::int64_t c = 0; c < channels; ++c) {
      const double* plane = smoothed.data() + c * n;
      filter_planes(blur, slope, plane, 1, h, w, gx.data());
      filter_planes(slope, blur, plane, 1, h, w, gy.data());
      const double most = kernels.strongest(gx.data(), gy.data(), n);
      const double factor = most > 0 ? kTextureBins / most : 0;
      parallel_for(n, kBand, [&](std::int64_t begin, std::int64_t end) {
        kernels.directions(gx.data() + begin, gy.data() + begin, factor, end - begin,
                           textures.data() + c * kAxes * n + begin, n);
      });
    }
    if (sigma > 1e-15) {
      const GaussianFilter filter(sigma, 0);
      filter_planes(filter, filter, smoothed.data(), channels, h, w, smoothed.data());
    }
  }
};

// The boxes of every scale and likeness of one colour space; `strategy` numbers the first.
std::vector<Found> search_space(const TensorView& image, ColorSpace space, const SelectiveSearchOptions& options,
                                std::uint64_t strategy) {
  const std::int64_t h = image.size(0), w = image.size(1);
  const Pixels pixels(image, space, options.sigma);
  const SortedEdges edges(pixels.smoothed.data(), pixels.channels, h, w);
  const Scratch<std::int32_t> labels(static_cast<std::size_t>(h * w));
  std::vector<Found> found;
  for (double scale : options.scales) {
    const std::int64_t count = edges.segment(scale / 255, static_cast<std::int64_t>(scale), labels.data());
    const RegionGraph graph({h, w, pixels.channels, pixels.colors.data(), pixels.textures.data()}, labels.data(),
                            count);
    for (unsigned likeness : options.likenesses) {
      const std::vector<Region> regions = graph.group(likeness);
      for (std::size_t r = 0; r < regions.size(); ++r) {
        const Region& region = regions[r];
        const Box box{region.x1, region.y1, region.x2 - region.x1, region.y2 - region.y1};
        if (std::min(box.width, box.height) < options.min_side) continue;
        const double rank = static_cast<double>(regions.size() - r);
        found.push_back({box, random_of(options.seed, strategy, r) * rank, 0});
      }
      ++strategy;
    }
  }
  return found;
}

}  // namespace

void check_selective_search(const TensorView& image, const SelectiveSearchOptions& options) {
  require_shape(kOp, "image", image, "(H, W, 3)", {-1, -1, 3});
  require_dtype(kOp, "image", image, DType::kUInt8);
  require(image.numel() > 0, kOp, ": image must not be empty, got ", shape_string(image));
  require(image.size(0) * image.size(1) <= kMaxPixels, kOp, ": image must have at most 2^26 pixels, got ",
          shape_string(image));
  require(options.sigma >= 0 && options.sigma <= 1e4, kOp, ": sigma must lie in [0, 10000], got ", options.sigma);
  for (double scale : options.scales)
    require(scale > 0 && scale <= 1e9, kOp, ": scales must be positive and at most 1e9, got ", scale);
  require(options.min_side >= 1, kOp, ": min_side must be at least 1, got ", options.min_side);
}

std::int64_t channels_of(ColorSpace space) { return space == ColorSpace::kGrey || space == ColorSpace::kHue ? 1 : 3; }

void color_planes(const TensorView& image, ColorSpace space, std::uint8_t* out) {
  const std::int64_t h = image.size(0), w = image.size(1), across = image.stride(1);
  double linear[256];  // IEC 61966-2-1
  for (int v = 0; v < 256; ++v) linear[v] = v <= 10 ? v / 255.0 / 12.92 : std::pow((v / 255.0 + 0.055) / 1.055, 2.4);
  const RegionFeatureKernels& kernels = region_feature_kernels();
  parallel_for(h, 16, [&](std::int64_t begin, std::int64_t end) {
    const Scratch<std::uint8_t> row(static_cast<std::size_t>(3 * w));
    for (std::int64_t y = begin; y < end; ++y) {
      const std::uint8_t* from = image.ptr<std::uint8_t>() + y * image.stride(0);
      for (std::int64_t x = 0; x < w; ++x)
        for (std::int64_t c = 0; c < 3; ++c) row[c * w + x] = from[x * across + c * image.stride(2)];
      kernels.convert(space, row.data(), row.data() + w, row.data() + 2 * w, linear, w, out + y * w, h * w);
    }
  });
}

std::vector<Box> selective_search(const TensorView& image, const SelectiveSearchOptions& options) {
  const std::int64_t spaces = static_cast<std::int64_t>(options.spaces.size());
  const std::uint64_t each = options.scales.size() * options.likenesses.size();
  std::vector<std::vector<Found>> parts(options.spaces.size());
  // One thread for a colour space, whose sort takes half of the time; with one of them, its filters are shared.
  parallel_for_dynamic(spaces, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t s = begin; s < end; ++s)
      parts[s] = search_space(image, options.spaces[s], options, each * static_cast<std::uint64_t>(s));
  });
  std::vector<Found> found;
  for (const auto& part : parts) found.insert(found.end(), part.begin(), part.end());
  for (std::size_t i = 0; i < found.size(); ++i) found[i].number = static_cast<std::int64_t>(i);
  const auto place = [](const Found& f) { return std::tie(f.box.x, f.box.y, f.box.width, f.box.height); };
  const auto order = [](const Found& f) { return std::tie(f.priority, f.number); };
  std::sort(found.begin(), found.end(), [&](const Found& a, const Found& b) {
    return place(a) != place(b) ? place(a) < place(b) : order(a) < order(b);
  });
  const auto same = [&](const Found& a, const Found& b) { return place(a) == place(b); };
  found.erase(std::unique(found.begin(), found.end(), same), found.end());
  std::sort(found.begin(), found.end(), [&](const Found& a, const Found& b) { return order(a) < order(b); });
  std::vector<Box> boxes;
  boxes.reserve(found.size());
  for (const Found& f : found) boxes.push_back(f.box);
  return boxes;
}

}  // namespace saccade
