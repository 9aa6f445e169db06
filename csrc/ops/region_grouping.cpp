#include "ops/region_grouping.h"

#include <algorithm>
#include <cstring>
#include <queue>
#include <tuple>

#include "kernels/region_features.h"

namespace saccade {
namespace {

constexpr int kAxes = 4;

std::int64_t round_up(std::int64_t n) { return (n + 31) / 32 * 32; }

Region united(const Region& a, const Region& b) {
  return {std::min(a.x1, b.x1), std::min(a.y1, b.y1), std::max(a.x2, b.x2), std::max(a.y2, b.y2), a.size + b.size};
}

// Counts of colours and of signed gradient bins of each region; those of one pixel lie in one row of at most 1.3 KB.
void count_pixels(const PixelFeatures& pixels, const std::int32_t* labels, std::int64_t stride, std::int32_t* counts) {
  const std::int64_t n = pixels.h * pixels.w, channels = pixels.channels;
  for (std::int64_t i = 0; i < n; ++i) {
    std::int32_t* row = counts + labels[i] * stride;
    for (std::int64_t c = 0; c < channels; ++c, row += kColorBins) ++row[pixels.colors[c * n + i] * kColorBins >> 8];
    for (std::int64_t c = 0; c < channels * kAxes; ++c, row += kSignedBins) ++row[pixels.textures[c * n + i]];
  }
}

// Signed bins of an axis to the bins of its two directions; what points the other way is in bin 0.
void split_axis(const std::int32_t* both, std::int32_t* forward, std::int32_t* backward) {
  std::int32_t sum = 0;
  for (int k = 0; k < kSignedBins; ++k) sum += both[k];
  forward[0] = backward[0] = sum;
  for (int k = 1; k < kTextureBins; ++k) {
    forward[k] = both[kTextureBins - 1 + k], backward[k] = both[kTextureBins - 1 - k];
    forward[0] -= forward[k], backward[0] -= backward[k];
  }
}

std::vector<Region> boxes_of(const std::int32_t* labels, std::int64_t h, std::int64_t w, std::int64_t count) {
  const std::int32_t far = static_cast<std::int32_t>(std::max(h, w));
  std::vector<Region> regions(static_cast<std::size_t>(count), {far, far, 0, 0, 0});
  for (std::int64_t y = 0; y < h; ++y)
    for (std::int64_t x = 0; x < w; ++x) {
      Region& region = regions[labels[y * w + x]];
      const std::int32_t column = static_cast<std::int32_t>(x), row = static_cast<std::int32_t>(y);
      region = united(region, {column, row, column + 1, row + 1, 1});
    }
  return regions;
}

// Pairs of regions that share a side of a pixel.
std::vector<std::vector<std::uint32_t>> neighbours_of(const std::int32_t* labels, std::int64_t h, std::int64_t w,
                                                      std::int64_t count) {
  std::vector<std::vector<std::uint32_t>> neighbours(static_cast<std::size_t>(count));
  const auto meet = [&](std::int32_t a, std::int32_t b) {
    if (a == b) return;
    // Most pairs repeat the last one; the others are dropped below.
    if (neighbours[a].empty() || neighbours[a].back() != static_cast<std::uint32_t>(b)) {
      neighbours[a].push_back(static_cast<std::uint32_t>(b));
      neighbours[b].push_back(static_cast<std::uint32_t>(a));
    }
  };
  for (std::int64_t y = 0; y < h; ++y)
    for (std::int64_t x = 0; x < w; ++x) {
      const std::int32_t* at = labels + y * w + x;
      if (x + 1 < w) meet(at[0], at[1]);
      if (y + 1 < h) meet(at[0], at[w]);
    }
  for (auto& list : neighbours) {
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
  }
  return neighbours;
}

struct Pair {
  double likeness;
  std::uint32_t a, b;  // a < b
  bool operator<(const Pair& other) const {
    if (likeness != other.likeness) return likeness < other.likeness;
    return std::tie(a, b) > std::tie(other.a, other.b);
  }
};

}  // namespace

RegionGraph::RegionGraph(const PixelFeatures& pixels, const std::int32_t* labels, std::int64_t count)
    : pixels_(pixels.h * pixels.w),
      count_(count),
      channels_(pixels.channels),
      color_bins_(round_up(pixels.channels * kColorBins)),
      texture_bins_(round_up(pixels.channels * 2 * kAxes * kTextureBins)),
      bins_(color_bins_ + texture_bins_),
      regions_(boxes_of(labels, pixels.h, pixels.w, count)),
      neighbours_(neighbours_of(labels, pixels.h, pixels.w, count)),
      counts_(static_cast<std::size_t>((2 * count - 1) * bins_)),
      fractions_(static_cast<std::size_t>((2 * count - 1) * bins_)) {
  const std::int64_t colors = pixels.channels * kColorBins, stride = colors + pixels.channels * kAxes * kSignedBins;
  const Scratch<std::int32_t> raw(static_cast<std::size_t>(count * stride));
  std::memset(raw.data(), 0, raw.size() * sizeof(std::int32_t));
  std::memset(counts_.data(), 0, static_cast<std::size_t>(count * bins_) * sizeof(std::int32_t));
  count_pixels(pixels, labels, stride, raw.data());
  const RegionFeatureKernels& kernels = region_feature_kernels();
  for (std::int64_t r = 0; r < count; ++r) {
    const std::int32_t* from = raw.data() + r * stride;
    std::int32_t* to = counts_.data() + r * bins_;
    std::copy_n(from, colors, to);
    to += color_bins_, from += colors;
    for (std::int64_t k = 0; k < pixels.channels * kAxes; ++k, from += kSignedBins, to += 2 * kTextureBins)
      split_axis(from, to, to + kTextureBins);
    kernels.normalize(counts_.data() + r * bins_, kHistogramUnit / static_cast<double>(regions_[r].size), bins_,
                      fractions_.data() + r * bins_);
  }
}

// One grouping of the regions; several share the histograms of the first ones.
struct RegionGraph::Grouping {
  const RegionGraph& graph;
  const RegionFeatureKernels& kernels;
  unsigned likeness;
  std::vector<Region> regions;
  std::vector<std::vector<std::uint32_t>> neighbours;
  std::vector<std::uint8_t> alive;
  std::vector<std::uint32_t> seen;  // by which new region a region was met last
  std::priority_queue<Pair> pairs;

  Grouping(const RegionGraph& from, unsigned bits)
      : graph(from),
        kernels(region_feature_kernels()),
        likeness(bits),
        regions(from.regions_),
        neighbours(from.neighbours_),
        alive(static_cast<std::size_t>(2 * from.count_ - 1), 1),
        seen(alive.size(), 0) {
    regions.reserve(alive.size());
    neighbours.reserve(alive.size());
    std::vector<Pair> first;
    for (std::uint32_t a = 0; a < from.count_; ++a)
      for (std::uint32_t b : neighbours[a])
        if (a < b) first.push_back({similarity(a, b), a, b});
    pairs = std::priority_queue<Pair>({}, std::move(first));
  }

  double similarity(std::uint32_t a, std::uint32_t b) const {
    const std::int64_t bins = graph.bins_, pixels = graph.pixels_;
    const std::int16_t *p = graph.fractions_.data() + a * bins, *q = graph.fractions_.data() + b * bins;
    const auto share = [](std::int64_t sum, std::int64_t histograms) {
      return static_cast<double>(sum) / static_cast<double>(histograms * kHistogramUnit);
    };
    double sum = 0;
    if (likeness & kColorLikeness) sum += share(kernels.intersection(p, q, graph.color_bins_), graph.channels_);
    if (likeness & kTextureLikeness) {
      const std::int64_t shift = graph.color_bins_;
      sum += share(kernels.intersection(p + shift, q + shift, graph.texture_bins_), 2 * kAxes * graph.channels_);
    }
    const Region both = united(regions[a], regions[b]);
    if (likeness & kSizeLikeness) sum += 1 - static_cast<double>(both.size) / static_cast<double>(pixels);
    if (likeness & kFillLikeness) {
      const std::int64_t box = static_cast<std::int64_t>(both.x2 - both.x1) * (both.y2 - both.y1);
      sum += 1 - static_cast<double>(box - both.size) / static_cast<double>(pixels);
    }
    return sum;
  }

  void join(std::uint32_t a, std::uint32_t b) {
    const std::uint32_t joined = static_cast<std::uint32_t>(regions.size());
    alive[a] = alive[b] = 0;
    regions.push_back(united(regions[a], regions[b]));
    const std::int64_t bins = graph.bins_;
    const std::int32_t *p = graph.counts_.data() + a * bins, *q = graph.counts_.data() + b * bins;
    std::int32_t* sum = graph.counts_.data() + joined * bins;
    for (std::int64_t k = 0; k < bins; ++k) sum[k] = p[k] + q[k];
    kernels.normalize(sum, kHistogramUnit / static_cast<double>(regions[joined].size), bins,
                      graph.fractions_.data() + joined * bins);
    std::vector<std::uint32_t> around;
    for (std::uint32_t old : {a, b})
      for (std::uint32_t other : neighbours[old])
        if (alive[other] && seen[other] != joined) {
          seen[other] = joined;
          around.push_back(other);
          neighbours[other].push_back(joined);
          pairs.push({similarity(other, joined), other, joined});
        }
    neighbours.push_back(std::move(around));
    neighbours[a] = {}, neighbours[b] = {};
  }
};

std::vector<Region> RegionGraph::group(unsigned likeness) const {
  Grouping grouping(*this, likeness);
  while (!grouping.pairs.empty()) {
    const Pair best = grouping.pairs.top();
    grouping.pairs.pop();
    if (grouping.alive[best.a] && grouping.alive[best.b]) grouping.join(best.a, best.b);
  }
  return std::move(grouping.regions);
}

}  // namespace saccade
