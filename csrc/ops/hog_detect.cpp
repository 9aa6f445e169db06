// Detection: a window's score is a sum over its blocks, so each row of blocks is multiplied with the coefficients of
// all rows that it can be in a window, and added to the scores of those windows, while it is in the cache.
// A thread takes kHogBand rows of blocks at a time: a fixed number, so that scores are added up in the same order
// however many threads there are. Two rows more are computed for each.
#include "ops/hog_detect.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "common/parallel.h"
#include "kernels/hog_scores.h"
#include "ops/checks.h"

namespace saccade {

namespace {

constexpr std::int64_t kLane = 16;

// The coefficients in the order of the kernel. Rows of blocks that leave the same remainder by the distance of windows
// are in windows as the same rows.
struct Classifier {
  struct Group {
    std::vector<std::int64_t> rows;  // of the window's blocks, at most kHogScoreRows
    std::vector<float> coefficients;
  };
  Classifier(const HogGeometry& g, const HogPlacement& p, const std::vector<float>& coefficients) {
    const std::int64_t values = g.values(), down = g.blocks_down(), across = g.blocks_across();
    block_step = {g.stride.width / p.step.width, g.stride.height / p.step.height};
    window_step = {p.stride.width / p.step.width, p.stride.height / p.step.height};
    if (static_cast<std::int64_t>(coefficients.size()) > g.size()) constant = coefficients.back();
    for (std::int64_t remainder = 0; remainder < window_step.height; ++remainder) {
      std::vector<Group> of_remainder;
      for (std::int64_t row = 0; row < down; ++row) {
        if ((row * block_step.height - remainder) % window_step.height != 0) continue;
        if (of_remainder.empty() || of_remainder.back().rows.size() == kHogScoreRows) of_remainder.emplace_back();
        of_remainder.back().rows.push_back(row);
      }
      for (Group& group : of_remainder) {
        group.coefficients.assign(static_cast<std::size_t>(across * values * kHogScoreRows), 0.f);
        for (std::size_t i = 0; i < group.rows.size(); ++i)
          for (std::int64_t c = 0; c < across; ++c)
            for (std::int64_t k = 0; k < values; ++k)
              group.coefficients[static_cast<std::size_t>((c * values + k) * kHogScoreRows) + i] =
                  coefficients[static_cast<std::size_t>((c * down + group.rows[i]) * values + k)];
      }
      groups.push_back(std::move(of_remainder));
    }
  }
  HogSize block_step, window_step;
  double constant = 0;
  std::vector<std::vector<Group>> groups;  // by remainder
};

// Places of the grid in a row where a window can stand, and the floats in a row of scores.
std::int64_t positions_of(const HogPlacement& p) { return (p.columns - 1) * p.stride.width / p.step.width + 1; }
std::int64_t row_of(const HogPlacement& p) { return (positions_of(p) + kLane - 1) / kLane * kLane; }

struct Band {
  std::size_t level;
  std::int64_t first, end;         // rows of blocks
  std::int64_t top = 0, rows = 0;  // rows of windows that they are in
  std::vector<float> scores;
};

void search_band(const HogGeometry& g, const Classifier& classifier, const HogLevel& level, HogStrip& strip,
                 Band& band) {
  const HogSize block = classifier.block_step, window = classifier.window_step;
  const std::int64_t reach = (g.blocks_down() - 1) * block.height;
  band.top = std::max<std::int64_t>(band.first - reach + window.height - 1, 0) / window.height;
  band.rows = std::min((band.end - 1) / window.height, level.placement.rows - 1) - band.top + 1;
  if (band.rows <= 0) return;
  const std::int64_t stride = row_of(level.placement);
  band.scores.assign(static_cast<std::size_t>((band.rows + 1) * stride), 0.f);  // the last row is for no window
  strip.start(level.grid, band.first, band.end);
  const auto add = hog_score_kernels().add;
  HogScores s{};
  s.plane = strip.plane();
  s.columns = static_cast<int>(g.blocks_across());
  s.values = static_cast<int>(g.values());
  s.step = block.width;
  s.lanes = positions_of(level.placement);
  for (std::int64_t r = band.first; r < band.end; ++r) {
    strip.next();
    s.planes = strip.planes();
    for (const Classifier::Group& group : classifier.groups[static_cast<std::size_t>(r % window.height)]) {
      bool any = false;
      for (std::size_t i = 0; i < kHogScoreRows; ++i) {
        s.scores[i] = band.scores.data() + band.rows * stride;
        if (i >= group.rows.size()) continue;
        const std::int64_t at = r - group.rows[i] * block.height, row = at / window.height;
        if (at < 0 || row >= level.placement.rows) continue;
        s.scores[i] = band.scores.data() + (row - band.top) * stride;
        any = true;
      }
      s.coefficients = group.coefficients.data();
      if (any) add(s);
    }
  }
}

void search_bands(const HogDescriptor& descriptor, const HogImage& image, const std::vector<HogLevel>& levels,
                  const Classifier& classifier, std::vector<Band>& bands) {
  const HogGeometry& g = descriptor.geometry();
  const HogPlan plan(g, levels[0].placement.step);
  std::int64_t columns = 0;
  for (const HogLevel& level : levels) columns = std::max(columns, level.grid.columns);
  // Bands with the most work first, so that no thread is left with a long one at the end.
  std::vector<std::size_t> order(bands.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto work = [&](std::size_t b) {
    return (bands[b].end - bands[b].first) * levels[bands[b].level].grid.columns;
  };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return work(a) > work(b); });
  const bool nested = omp_in_parallel();
  std::vector<std::unique_ptr<HogStrip>> strips(nested ? 1 : static_cast<std::size_t>(omp_get_max_threads()));
  parallel_for_dynamic(static_cast<std::int64_t>(order.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    auto& strip = strips[nested ? 0 : static_cast<std::size_t>(omp_get_thread_num())];
    if (!strip) strip = std::make_unique<HogStrip>(plan, image, columns);
    for (std::int64_t i = begin; i < end; ++i) {
      Band& band = bands[order[static_cast<std::size_t>(i)]];
      search_band(g, classifier, levels[band.level], *strip, band);
    }
  });
}

// The bands of one level, in order.
void append_hits(const HogLevel& level, const Classifier& classifier, const Band* bands, std::size_t count,
                 double threshold, std::vector<HogHit>& hits) {
  const HogPlacement& p = level.placement;
  const std::int64_t stride = row_of(p);
  for (std::int64_t y = 0; y < p.rows; ++y)
    for (std::int64_t x = 0; x < p.columns; ++x) {
      double score = classifier.constant;
      for (std::size_t b = 0; b < count; ++b) {
        const std::int64_t row = y - bands[b].top;
        if (row >= 0 && row < bands[b].rows)
          score += bands[b].scores[static_cast<std::size_t>(row * stride + x * classifier.window_step.width)];
      }
      if (score >= threshold)
        hits.push_back({static_cast<std::int32_t>(x * p.stride.width - p.padding.width),
                        static_cast<std::int32_t>(y * p.stride.height - p.padding.height), score});
    }
}

// The hits of each level.
std::vector<std::vector<HogHit>> search(const HogDescriptor& descriptor, const HogImage& image,
                                        const std::vector<HogLevel>& levels, double threshold) {
  if (levels.empty()) return {};
  const Classifier classifier(descriptor.geometry(), levels[0].placement, descriptor.coefficients());
  std::vector<Band> bands;
  for (std::size_t l = 0; l < levels.size(); ++l)
    for (std::int64_t first = 0; first < levels[l].grid.rows; first += kHogBand)
      bands.push_back({l, first, std::min(first + kHogBand, levels[l].grid.rows), 0, 0, {}});
  search_bands(descriptor, image, levels, classifier, bands);
  std::vector<std::vector<HogHit>> hits(levels.size());
  std::size_t next = 0;
  for (std::size_t l = 0; l < levels.size(); ++l) {
    const std::size_t first = next;
    while (next < bands.size() && bands[next].level == l) ++next;
    append_hits(levels[l], classifier, bands.data() + first, next - first, threshold, hits[l]);
  }
  return hits;
}

std::int32_t round_int(double x) {
  return static_cast<std::int32_t>(std::clamp(std::nearbyint(x), -0x1p31, 0x1p31 - 1));
}

// Image sizes as OpenCV's: at most `levels`, all of which hold a window without padding but for the first.
std::vector<double> level_scales(const HogGeometry& g, HogSize image, const HogOptions& options, bool one) {
  std::vector<double> scales{1};
  const auto fits = [&](double scale) {
    return std::nearbyint(static_cast<double>(image.width) / scale) >= static_cast<double>(g.window.width) &&
           std::nearbyint(static_cast<double>(image.height) / scale) >= static_cast<double>(g.window.height);
  };
  if (one || options.scale <= 1 || !fits(1)) return scales;
  for (double scale = options.scale; static_cast<std::int64_t>(scales.size()) < g.levels && fits(scale);
       scale *= options.scale)
    scales.push_back(scale);
  return scales;
}

}  // namespace

std::vector<HogLevel> hog_levels(const HogGeometry& g, HogSize image, const HogOptions& options, bool one) {
  std::vector<HogLevel> levels;
  if (image.width == 0 || image.height == 0) return levels;
  for (const double scale : level_scales(g, image, options, one)) {
    const auto width = static_cast<std::int64_t>(std::nearbyint(static_cast<double>(image.width) / scale));
    const auto height = static_cast<std::int64_t>(std::nearbyint(static_cast<double>(image.height) / scale));
    const HogPlacement p = place_windows(g, options, width, height);
    if (p.columns == 0) continue;
    levels.push_back({scale, p, p.grid(g, image, width, height)});
  }
  return levels;
}

void check_hog_detection(const char* op, const HogDescriptor& descriptor, const TensorView& image,
                         const HogOptions& options) {
  check_hog_image(op, image);
  require(!descriptor.coefficients().empty(), op, ": the descriptor must have coefficients, from set_svm");
  require(!std::isnan(options.hit_threshold), op, ": hit_threshold must be a number, got ", options.hit_threshold);
  require(std::isfinite(options.scale), op, ": scale must be finite, got ", options.scale);
}

HogDetections hog_detections(const HogGeometry& geometry, HogSize image, const std::vector<HogLevel>& levels,
                             const std::vector<std::vector<HogHit>>& hits, std::int64_t min_neighbors) {
  HogDetections raw;
  for (std::size_t l = 0; l < levels.size(); ++l) {
    const double scale = levels[l].scale;
    const std::int32_t w = round_int(static_cast<double>(geometry.window.width) * scale);
    const std::int32_t h = round_int(static_cast<double>(geometry.window.height) * scale);
    for (const HogHit& hit : hits[l]) {
      raw.boxes.push_back({round_int(hit.x * scale), round_int(hit.y * scale), w, h});
      raw.scores.push_back(hit.score);
    }
  }
  const RectangleGroups groups = group_rectangles(raw.boxes, raw.scores, min_neighbors, 0.2, RectangleMean::kDouble);
  HogDetections found;
  for (std::size_t i = 0; i < groups.boxes.size(); ++i) {
    Rectangle box = groups.boxes[i];
    if (!clip_rectangle(box, image.width, image.height)) continue;
    found.boxes.push_back(box);
    found.scores.push_back(groups.scores[i]);
  }
  return found;
}

std::vector<HogHit> HogDescriptor::detect(const TensorView& view, const HogOptions& options) const {
  check_hog_detection("detect", *this, view, options);
  const HogImage image(view);
  const auto hits = search(*this, image, hog_levels(geometry_, image.size(), options, true), options.hit_threshold);
  return hits.empty() ? std::vector<HogHit>{} : hits[0];
}

HogDetections HogDescriptor::detect_multi_scale(const char* op, const TensorView& view,
                                                const HogOptions& options) const {
  check_hog_detection(op, *this, view, options);
  const HogImage image(view);
  const std::vector<HogLevel> levels = hog_levels(geometry_, image.size(), options, false);
  const auto hits = search(*this, image, levels, options.hit_threshold);
  return hog_detections(geometry_, image.size(), levels, hits, options.min_neighbors);
}

}  // namespace saccade
