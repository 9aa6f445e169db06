#include "ops/felzenszwalb.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "common/large_output.h"
#include "common/parallel.h"
#include "kernels/felzenszwalb.h"
#include "ops/checks.h"
#include "ops/gaussian_planes.h"
#include "ops/radix_sort.h"

// Measured at 512 x 512 x 3, one thread: filter 1.4 ms, weights 3 ms, sort and its pages 15 ms, the edges in order 23
// ms. The last is bound by the trees' cache misses: asking early for pixels halved it. It did not help in the second
// round.
namespace saccade {
namespace {

constexpr const char* kOp = "felzenszwalb";
constexpr std::int64_t kMaxPixels = std::int64_t{1} << 29;  // an edge's number fits in 31 bits
constexpr std::int64_t kBand = 16;                          // rows that a thread takes at once
constexpr int kAhead = 16;  // edges whose pixels are asked for early: 51 -> 25 ms at 512 x 512

// Planes of float64, integers divided by their maximum as scikit-image's img_as_float does. Returns whether all of it
// is finite.
template <class T>
bool to_planes(const TensorView& image, double factor, double* planes) {
  const std::int64_t h = image.size(0), w = image.size(1), channels = image.size(2);
  bool finite = true;
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t y = 0; y < h; ++y) {
      const T* row = image.ptr<T>() + c * image.stride(2) + y * image.stride(0);
      double* out = planes + (c * h + y) * w;
      for (std::int64_t x = 0; x < w; ++x) {
        out[x] = static_cast<double>(row[x * image.stride(1)]) * factor;
        finite &= std::abs(out[x]) <= std::numeric_limits<double>::max();
      }
    }
  return finite;
}

// Working memory of the size of an image: its pages are fresh, and cost more than what is done with them.
template <class T>
struct LargeScratch : Scratch<T> {
  explicit LargeScratch(std::int64_t count) : Scratch<T>(static_cast<std::size_t>(count)) {
    advise_huge_pages(this->data(), this->size() * sizeof(T));
  }
};

// Regions as trees of pixels; each root knows its size and the weight below which it joins. Parents lie apart from
// that: of 512 x 512 pixels they fill half of a second-level cache, and most edges need no more.
struct Forest {
  struct Root {
    double limit;
    std::int64_t size;
  };
  LargeScratch<std::uint32_t> parents;
  LargeScratch<Root> roots;

  Forest(std::int64_t pixels, double scale) : parents(pixels), roots(pixels) {
    for (std::int64_t i = 0; i < pixels; ++i) parents[i] = static_cast<std::uint32_t>(i), roots[i] = {scale, 1};
  }
  std::uint32_t root(std::uint32_t i) const {
    for (std::uint32_t parent = parents[i]; parent != i; parent = parents[i]) {
      parents[i] = parents[parent];  // halves the path
      i = parents[i];
    }
    return i;
  }
  // The greater tree's root stays: paths stay short.
  std::uint32_t join(std::uint32_t a, std::uint32_t b) const {
    if (roots[a].size < roots[b].size) std::swap(a, b);
    parents[b] = a;
    roots[a].size += roots[b].size;
    return a;
  }
};

}  // namespace

void check_felzenszwalb(const TensorView& image, const FelzenszwalbOptions& options) {
  require_shape(kOp, "image", image, "(H, W, C)", {-1, -1, -1});
  require(image.numel() > 0, kOp, ": image must not be empty, got ", shape_string(image));
  require_type(image.dtype == DType::kUInt8 || image.dtype == DType::kFloat32 || image.dtype == DType::kFloat64, kOp,
               ": image must be uint8, float32 or float64, got ", dtype_name(image.dtype));
  require(image.size(0) * image.size(1) <= kMaxPixels, kOp, ": image must have at most 2^29 pixels, got ",
          shape_string(image));
  require(options.scale >= 0 && std::isfinite(options.scale), kOp, ": scale must be finite and not negative, got ",
          options.scale);
  require(options.sigma >= 0 && options.sigma <= 1e4, kOp, ": sigma must lie in [0, 10000], got ", options.sigma);
  require(options.min_size >= 0, kOp, ": min_size must not be negative, got ", options.min_size);
}

SortedEdges::SortedEdges(const double* planes, std::int64_t channels, std::int64_t h, std::int64_t w)
    : h_(h),
      w_(w),
      count_(h * (w - 1) + (h - 1) * w + 2 * (h - 1) * (w - 1)),
      weights_(static_cast<std::size_t>(4 * h * w)),
      sorted_(static_cast<std::size_t>(count_)) {
  using Item = Keyed<std::uint32_t>;
  const FelzenszwalbKernels& kernels = felzenszwalb_kernels();
  const std::int64_t pixels = h * w;
  advise_huge_pages(weights_.data(), weights_.size() * sizeof(double));
  advise_huge_pages(sorted_.data(), sorted_.size() * sizeof(std::uint32_t));
  const LargeScratch<Item> items(count_), spare(count_);
  // Direction d of pixel p has its weight at d * pixels + p; an up-right edge belongs to its upper end.
  const std::int64_t starts[] = {0, h * (w - 1), h * (w - 1) + (h - 1) * w, h * (w - 1) + (h - 1) * (2 * w - 1)};
  parallel_for(h, kBand, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t y = begin; y < end; ++y)
      for (int d = 0; d < 4; ++d) {
        const std::int64_t first = d == 3, last = d == 0 || d == 2 ? w - 1 : w;
        if (first >= last || (d > 0 && y == h - 1)) continue;
        const std::int64_t step = (d > 0 ? w : 0) + (d == 0 || d == 2 ? 1 : 0) - (d == 3 ? 1 : 0);
        const double* row = planes + y * w + first;
        double* weights = weights_.data() + d * pixels + y * w;
        kernels.edge_row(row, row + step, channels, pixels, last - first, weights + first);
        Item* out = items.data() + starts[d] + y * (last - first);
        for (std::int64_t x = first; x < last; ++x, ++out)
          *out = {std::bit_cast<std::uint32_t>(static_cast<float>(weights[x])),
                  static_cast<std::uint32_t>(4 * (y * w + x) + d)};
      }
  });
  // Sorted by the weights rounded to float32, which keeps their order, then each run of equal ones by the weights; in
  // flat areas runs are long, and in order as they are. Digits of 8 bits: their 256 streams stay in the first-level
  // cache; a million edges take 6 ms, with digits of 11 bits 11 ms.
  Item* done = radix_sort_digits<8>(items.data(), spare.data(), count_);
  const auto weight = [&](const Item& item) { return weights_[(item.index & 3) * pixels + (item.index >> 2)]; };
  const auto lighter = [&](const Item& a, const Item& b) { return weight(a) < weight(b); };
  for (std::int64_t i = 0, next = 0; i < count_; i = next) {
    next = i + 1;
    while (next < count_ && done[next].key == done[i].key) ++next;
    if (next - i > 1 && !std::is_sorted(done + i, done + next, lighter))
      std::stable_sort(done + i, done + next, lighter);
  }
  for (std::int64_t i = 0; i < count_; ++i) sorted_[i] = done[i].index;
}

std::int64_t SortedEdges::segment(double scale, std::int64_t min_size, std::int32_t* labels) const {
  const std::int64_t pixels = h_ * w_;
  const Forest forest(pixels, scale);
  const std::int64_t steps[] = {1, w_, w_ + 1, w_ - 1};
  const auto other = [&](std::uint32_t edge) { return (edge >> 2) + static_cast<std::uint32_t>(steps[edge & 3]); };
  // Edges that joined nothing; what lies within a region here, stays so. One in ten: the second round is short.
  const LargeScratch<std::uint32_t> rejected(count_);
  std::int64_t left = 0;
  for (std::int64_t i = 0; i < count_; ++i) {
    if (i + kAhead < count_) {
      const std::uint32_t next = sorted_[i + kAhead];
      __builtin_prefetch(&forest.parents[next >> 2], 1);
      __builtin_prefetch(&forest.parents[other(next)], 1);
      __builtin_prefetch(&forest.roots[next >> 2], 1);
      __builtin_prefetch(&forest.roots[other(next)], 1);
      __builtin_prefetch(&weights_[(next & 3) * pixels + (next >> 2)]);
    }
    const std::uint32_t edge = sorted_[i], a = forest.root(edge >> 2), b = forest.root(other(edge));
    if (a == b) continue;
    const double weight = weights_[(edge & 3) * pixels + (edge >> 2)];
    if (weight < std::min(forest.roots[a].limit, forest.roots[b].limit)) {
      const std::uint32_t joined = forest.join(a, b);
      forest.roots[joined].limit = weight + scale / static_cast<double>(forest.roots[joined].size);
    } else {
      rejected[left++] = edge;
    }
  }
  for (std::int64_t i = 0; i < left; ++i) {
    const std::uint32_t a = forest.root(rejected[i] >> 2), b = forest.root(other(rejected[i]));
    if (a != b && std::min(forest.roots[a].size, forest.roots[b].size) < min_size) forest.join(a, b);
  }
  std::int32_t count = 0;
  for (std::int64_t i = 0; i < pixels; ++i) {
    const std::uint32_t root = forest.root(static_cast<std::uint32_t>(i));
    // Sizes are not needed any more: a root's place keeps -1 - its region's number.
    std::int64_t& number = forest.roots[root].size;
    if (number >= 0) number = -1 - static_cast<std::int64_t>(count++);
    labels[i] = static_cast<std::int32_t>(-1 - number);
  }
  return count;
}

void felzenszwalb(const TensorView& image, const FelzenszwalbOptions& options, const TensorView& labels) {
  const std::int64_t h = image.size(0), w = image.size(1), channels = image.size(2);
  const Scratch<double> planes(static_cast<std::size_t>(h * w * channels));
  bool finite = true;
  switch (image.dtype) {
    case DType::kUInt8: finite = to_planes<std::uint8_t>(image, 1.0 / 255, planes.data()); break;
    case DType::kFloat32: finite = to_planes<float>(image, 1, planes.data()); break;
    default: finite = to_planes<double>(image, 1, planes.data());
  }
  require(finite, kOp, ": image must be finite, got NaN or infinity");
  if (options.sigma > 1e-15) {  // scipy's threshold
    const GaussianFilter filter(options.sigma, 0);
    filter_planes(filter, filter, planes.data(), channels, h, w, planes.data());
  }
  const Scratch<std::int32_t> numbers(static_cast<std::size_t>(h * w));
  SortedEdges(planes.data(), channels, h, w).segment(options.scale / 255, options.min_size, numbers.data());
  std::copy_n(numbers.data(), h * w, labels.ptr<std::int64_t>());
}

}  // namespace saccade
