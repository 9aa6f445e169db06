#include "ops/cascade.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>

#include "common/parallel.h"
#include "ops/checks.h"

namespace saccade {

namespace {

// Rows [begin, end) of windows of one level of one image: the unit that threads take.
struct Band {
  std::size_t image, level;
  std::int64_t begin, end;
  std::vector<CascadeHit> hits;
};

// Everything one thread needs for the levels of one step between windows.
struct Worker {
  std::unique_ptr<CascadeStrip> strip[2];
  std::vector<CascadeHit> hits;
  std::vector<CascadeQuad> quads;
  std::vector<float> scale;
};

struct Search {
  std::vector<GreyImage> images;
  std::vector<std::vector<CascadeLevel>> levels;  // of each image
  std::vector<Band> bands;
  std::int64_t max_width[2] = {0, 0};  // level images with windows at every pixel, at every second one
  std::int64_t max_source = 0;
};

// About eight bands for each thread, but none of fewer rows than the window has: each band makes that many rows of the
// integral image again.
void cut_bands(Search& search, std::int64_t window_height) {
  std::int64_t windows = 0;
  for (const auto& levels : search.levels)
    for (const CascadeLevel& level : levels) windows += level.columns * level.rows;
  const std::int64_t threads = omp_in_parallel() ? 1 : omp_get_max_threads();
  const std::int64_t share = threads == 1 ? windows : windows / (threads * 8) + 1;
  for (std::size_t i = 0; i < search.levels.size(); ++i)
    for (std::size_t l = 0; l < search.levels[i].size(); ++l) {
      const CascadeLevel& level = search.levels[i][l];
      const std::int64_t rows = std::max({share / level.columns, window_height, std::int64_t{1}});
      const std::int64_t bands = (level.rows + rows - 1) / rows;
      for (std::int64_t b = 0; b < bands; ++b)
        search.bands.push_back({i, l, level.rows * b / bands, level.rows * (b + 1) / bands, {}});
    }
}

Search plan_search(const CascadeModel& model, const std::vector<TensorView>& images, const CascadeOptions& options) {
  Search search;
  for (const TensorView& image : images) {
    search.images.emplace_back(image);
    const GreyImage& grey = search.images.back();
    search.levels.push_back(cascade_levels(model, grey.width, grey.height, options));
    search.max_source = std::max(search.max_source, grey.width);
    for (const CascadeLevel& level : search.levels.back()) {
      std::int64_t& width = search.max_width[level.step - 1];
      width = std::max(width, level.width);
    }
  }
  cut_bands(search, model.height);
  return search;
}

void search_band(const CascadePlan& plan, const Search& search, Band& band, CascadeStrip& strip, Worker& worker) {
  const CascadeLevel& level = search.levels[band.image][band.level];
  const auto kernel = cascade_kernels().row;
  const auto columns = static_cast<std::size_t>(level.columns);
  if (worker.hits.size() < columns) {
    worker.hits.resize(columns);
    worker.quads.resize(columns);
    worker.scale.resize(columns + kCascadePadding);
  }
  strip.start(search.images[band.image], level, band.begin * level.step);
  for (std::int64_t y = band.begin; y < band.end; ++y) {
    const CascadeRow row{strip.window_row(y * level.step), level.columns, worker.scale.data(), worker.quads.data()};
    const std::int64_t found = kernel(plan, row, worker.hits.data());
    for (std::int64_t k = 0; k < found; ++k) {
      CascadeHit hit = worker.hits[static_cast<std::size_t>(k)];
      hit.y = static_cast<std::int32_t>(y);
      band.hits.push_back(hit);
    }
  }
}

std::int32_t round_even(float x) { return static_cast<std::int32_t>(std::nearbyint(x)); }

}  // namespace

void check_detect(const CascadeModel& model, const std::vector<TensorView>& images, const CascadeOptions& options) {
  for (const TensorView& image : images) {
    require_dtype("detect", "image", image, DType::kUInt8);
    const bool grey = image.ndim == 2, colour = image.ndim == 3 && image.size(2) == 3;
    require(grey || colour, "detect: image must have shape (H, W) or (H, W, 3), got ", shape_string(image));
    const std::int64_t limit = std::numeric_limits<std::int32_t>::max();
    require(image.size(0) <= limit / 4 && image.size(1) <= limit / 4 &&
                (image.size(0) == 0 || image.size(1) <= limit / image.size(0)),
            "detect: image must have fewer than 2^31 pixels, got ", shape_string(image));
    cascade_layout(model, true, image.size(1), 1);
  }
  require(std::isfinite(options.scale_factor) && options.scale_factor > 1,
          "detect: scale_factor must be a finite number greater than 1, got ", options.scale_factor);
}

void append_boxes(const CascadeModel& model, const CascadeLevel& level, const std::vector<CascadeHit>& hits,
                  std::vector<Rectangle>& boxes, std::vector<double>& scores) {
  const float scale = level.scale;
  const std::int32_t w = round_even(static_cast<float>(model.width) * scale);
  const std::int32_t h = round_even(static_cast<float>(model.height) * scale);
  for (const CascadeHit& hit : hits) {
    const std::int64_t x = hit.x * level.step, y = hit.y * level.step;
    boxes.push_back({round_even(static_cast<float>(x) * scale), round_even(static_cast<float>(y) * scale), w, h});
    scores.push_back(hit.score);
  }
}

CascadeDetections group_detections(const CascadeModel& model, const std::vector<Rectangle>& boxes,
                                   const std::vector<double>& scores, std::int64_t width, std::int64_t height,
                                   std::int64_t min_neighbors) {
  const RectangleGroups groups = group_rectangles(boxes, scores, min_neighbors, 0.2);
  CascadeDetections result;
  for (std::size_t k = 0; k < groups.boxes.size(); ++k) {
    Rectangle box = groups.boxes[k];
    if (!clip_rectangle(box, width, height)) continue;
    result.boxes.push_back(box);
    result.scores.push_back(groups.scores[k]);
    result.levels.push_back(static_cast<std::int32_t>(model.stage_thresholds.size()));
  }
  return result;
}

CascadeClassifier::CascadeClassifier(CascadeModel model)
    : model_((check_cascade("CascadeClassifier", model), std::move(model))), program_(model_) {}

std::vector<CascadeDetections> CascadeClassifier::detect(const std::vector<TensorView>& images,
                                                         const CascadeOptions& options) const {
  check_detect(model_, images, options);
  Search search = plan_search(model_, images, options);
  CascadeLayout layouts[2];
  CascadeProgram::Offsets offsets[2];
  for (int k = 0; k < 2; ++k) {
    if (search.max_width[k] == 0) continue;
    layouts[k] = cascade_layout(model_, program_.tilted(), search.max_width[k], k + 1);
    offsets[k] = program_.offsets(layouts[k]);
  }
  // Bands with the most work first, so that no thread is left with a long one at the end.
  std::vector<std::size_t> order(search.bands.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto work = [&](std::size_t b) {
    const Band& band = search.bands[b];
    return (band.end - band.begin) * search.levels[band.image][band.level].columns;
  };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return work(a) > work(b); });
  const bool nested = omp_in_parallel();
  std::vector<Worker> workers(nested ? 1 : static_cast<std::size_t>(omp_get_max_threads()));
  parallel_for_dynamic(static_cast<std::int64_t>(order.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    Worker& worker = workers[nested ? 0 : static_cast<std::size_t>(omp_get_thread_num())];
    for (std::int64_t b = begin; b < end; ++b) {
      Band& band = search.bands[order[static_cast<std::size_t>(b)]];
      const int k = static_cast<int>(search.levels[band.image][band.level].step) - 1;
      auto& strip = worker.strip[k];
      if (!strip)
        strip =
            std::make_unique<CascadeStrip>(layouts[k], model_.height, std::max(search.max_source, search.max_width[k]));
      search_band(offsets[k].plan, search, band, *strip, worker);
    }
  });

  std::vector<CascadeDetections> results;
  std::size_t next = 0;
  for (std::size_t i = 0; i < images.size(); ++i) {
    std::vector<Rectangle> boxes;
    std::vector<double> scores;
    for (; next < search.bands.size() && search.bands[next].image == i; ++next)
      append_boxes(model_, search.levels[i][search.bands[next].level], search.bands[next].hits, boxes, scores);
    const GreyImage& image = search.images[i];
    results.push_back(group_detections(model_, boxes, scores, image.width, image.height, options.min_neighbors));
  }
  return results;
}

}  // namespace saccade
