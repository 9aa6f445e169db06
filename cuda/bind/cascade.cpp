#include "cuda/kernels/cascade.h"

#include <algorithm>
#include <cstddef>

#include "bind_torch/cascade.h"
#include "cuda/common/transfer.h"

namespace saccade::cuda {
namespace {

// The end of the group that begins with level `begin`: memory is bounded by a few times that of the largest image.
std::size_t group_end(const std::vector<CascadeLevel>& levels, std::size_t begin) {
  constexpr std::int64_t kLargest = 4;
  const std::int64_t limit = kLargest * (levels[0].height + 1);
  std::int64_t rows = 0;
  std::size_t end = begin;
  while (end < levels.size() && (end == begin || rows + levels[end].height + 1 <= limit))
    rows += levels[end++].height + 1;
  return end;
}

struct Hit {
  std::int64_t window;
  double score;
};

// The windows of the levels [begin, end) that pass all stages, in order.
class Detector {
 public:
  Detector(const CascadeClassifier& classifier, const Tensor& image, const std::vector<CascadeLevel>& levels,
           cudaStream_t stream)
      : image_(image), levels_(levels), stream_(stream) {
    std::int64_t max_width = 0;
    for (const CascadeLevel& level : levels) max_width = std::max(max_width, level.width);
    layout_ = cascade_layout(classifier.model(), classifier.program().tilted(), max_width, 1);
    const CascadeProgram::Offsets offsets = classifier.program().offsets(layout_);
    const CascadePlan& from = offsets.plan;
    const std::size_t nodes = classifier.model().nodes.size() / 3;
    plan_ = from;
    Parcel parcel;
    parcel.add(plan_.stages, from.stages, static_cast<std::size_t>(from.stage_count));
    parcel.add(plan_.trees, from.trees, classifier.model().tree_nodes.size());
    parcel.add(plan_.forms, from.forms, nodes);
    parcel.add(plan_.leaves, from.leaves, classifier.program().leaf_count());
    parcel.add(plan_.children, from.children, 2 * nodes);
    parcel.add(plan_.haar_nodes, from.haar_nodes, offsets.haar.size());
    parcel.add(plan_.lbp_nodes, from.lbp_nodes, offsets.lbp.size());
    plan_memory_ = parcel.send(image, stream);
  }

  std::vector<Hit> search(std::size_t begin, std::size_t end) const {
    CascadeGroup group{};
    const Tensor places = place(begin, end, group);
    const Tensor integral = scratch<std::uint32_t>(group.rows * group.row, image_),
                 pixels = scratch<std::uint8_t>(group.tilted ? group.rows * group.max_width : 0, image_),
                 state = scratch<std::uint8_t>(group.windows, image_),
                 counts = scratch<unsigned long long>(kCascadeLists, image_),
                 first_list = scratch<std::int64_t>(group.windows, image_),
                 second_list = scratch<std::int64_t>(group.windows, image_),
                 scores = scratch<double>(group.windows, image_);
    group.integral = view(integral).ptr<std::uint32_t>();
    group.pixels = view(pixels).ptr<std::uint8_t>();
    const CascadeSearch search = {view(state).ptr<std::uint8_t>(),
                                  {view(first_list).ptr<std::int64_t>(), view(second_list).ptr<std::int64_t>()},
                                  view(counts).ptr<unsigned long long>(),
                                  view(scores).ptr<double>()};
    const CascadeList list = launch_cascade(group, plan_, search, stream_);
    const auto count = static_cast<std::size_t>(read_value(list.count, stream_));
    const std::vector<std::int64_t> windows = download(list.windows, count, stream_);
    const std::vector<double> sums = download(search.scores, count, stream_);
    std::vector<Hit> hits(count);
    for (std::size_t k = 0; k < count; ++k) hits[k] = {windows[k], sums[k]};
    std::sort(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) { return a.window < b.window; });
    return hits;
  }

 private:
  // Fills in all but the working memory. The group borrows from the tensor returned.
  Tensor place(std::size_t begin, std::size_t end, CascadeGroup& group) const {
    std::vector<CascadeLevelPlace> places;
    std::vector<std::int32_t> tables;
    for (std::size_t l = begin; l < end; ++l) {
      const CascadeLevel& level = levels_[l];
      const auto narrow = [](std::int64_t x) { return static_cast<std::int32_t>(x); };
      places.push_back({narrow(level.width), narrow(level.height), narrow(level.columns), narrow(level.rows),
                        narrow(level.step), static_cast<std::int64_t>(tables.size()), group.rows, group.windows});
      for (const auto* table : {&level.index, &level.weight, &level.row_index, &level.row_weight})
        tables.insert(tables.end(), table->begin(), table->end());
      group.rows += level.height + 1;
      group.windows += level.columns * level.rows;
      group.max_width = std::max(group.max_width, level.width);
      group.max_height = std::max(group.max_height, level.height);
    }
    group.level_count = static_cast<std::int64_t>(end - begin);
    group.image = view(image_).ptr<const std::uint8_t>();
    group.image_width = image_.size(1);
    group.image_height = image_.size(0);
    group.row = layout_.row;
    group.squares = layout_.squares;
    group.tilted = layout_.tilted;
    Parcel parcel;
    parcel.add(group.levels, places.data(), places.size());
    parcel.add(group.tables, tables.data(), tables.size());
    return parcel.send(image_, stream_);
  }

  const Tensor& image_;
  const std::vector<CascadeLevel>& levels_;
  cudaStream_t stream_;
  CascadeLayout layout_;
  CascadePlan plan_;
  Tensor plan_memory_;
};

// The windows of a group as rectangles of the image.
void append_group(const CascadeModel& model, const std::vector<CascadeLevel>& levels, std::size_t begin,
                  std::size_t end, const std::vector<Hit>& hits, std::vector<Rectangle>& boxes,
                  std::vector<double>& scores) {
  std::int64_t first = 0;
  auto hit = hits.begin();
  for (std::size_t l = begin; l < end; ++l) {
    const std::int64_t columns = levels[l].columns, count = columns * levels[l].rows;
    std::vector<CascadeHit> of_level;
    for (; hit != hits.end() && hit->window < first + count; ++hit) {
      const std::int64_t window = hit->window - first;
      of_level.push_back(
          {static_cast<std::int32_t>(window % columns), static_cast<std::int32_t>(window / columns), hit->score});
    }
    append_boxes(model, levels[l], of_level, boxes, scores);
    first += count;
  }
}

std::tuple<Tensor, Tensor> cascade_detect(const Tensor& image, bool haar, std::int64_t width, std::int64_t height,
                                          std::vector<Tensor> arrays, double scale_factor, std::int64_t min_neighbors,
                                          std::vector<std::int64_t> min_size, std::vector<std::int64_t> max_size) {
  const CascadeClassifier classifier = bind_torch::cascade_classifier(haar, width, height, arrays);
  const CascadeOptions options = bind_torch::cascade_options(scale_factor, min_neighbors, min_size, max_size);
  bind_torch::check_cascade_detect(classifier, view(image), options);
  const CascadeModel& model = classifier.model();
  const DeviceOf device(image);
  const Tensor dense = torch::stable::contiguous(image);
  const std::vector<CascadeLevel> levels = cascade_levels(model, image.size(1), image.size(0), options);
  std::vector<Rectangle> raw;
  std::vector<double> raw_scores;
  if (!levels.empty()) {
    const Detector detector(classifier, dense, levels, device.stream());
    for (std::size_t begin = 0; begin < levels.size();) {
      const std::size_t end = group_end(levels, begin);
      append_group(model, levels, begin, end, detector.search(begin, end), raw, raw_scores);
      begin = end;
    }
  }
  const CascadeDetections found =
      group_detections(model, raw, raw_scores, image.size(1), image.size(0), options.min_neighbors);
  const auto count = static_cast<std::int64_t>(found.boxes.size());
  const Tensor boxes = empty({count, 4}, image, ScalarType::Int), scores = empty({count}, image, ScalarType::Double);
  upload(boxes, found.boxes.data(), found.boxes.size(), device.stream());
  upload(scores, found.scores.data(), found.scores.size(), device.stream());
  return {boxes, scores};
}

}  // namespace

SACCADE_TORCH_CUDA(m) { m.impl("cascade_detect", SACCADE_BOX(cascade_detect)); }

}  // namespace saccade::cuda
