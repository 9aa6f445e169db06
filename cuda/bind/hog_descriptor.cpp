#include "cuda/kernels/hog_descriptor.h"

#include <algorithm>
#include <cstddef>

#include "bind_torch/hog_descriptor.h"
#include "cuda/common/transfer.h"
#include "ops/hog_blocks.h"
#include "ops/hog_detect.h"

namespace saccade::cuda {
namespace {

// Votes of a group, unless one of its grids has more: about 200 MB of working memory.
constexpr std::int64_t kVotes = 1 << 22;

std::int32_t narrow(std::int64_t x) { return static_cast<std::int32_t>(x); }

HogSize in_blocks(HogSize size, HogSize step) { return {size.width / step.width, size.height / step.height}; }

// The kernels' work on the blocks of one image.
class Blocks {
 public:
  Blocks(const HogPlan& plan, const Tensor& image, cudaStream_t stream) : image_(image), stream_(stream) {
    const HogGeometry& g = plan.geometry;
    group_.image = view(image).ptr<const std::uint8_t>();
    group_.image_width = image.size(1), group_.image_height = image.size(0);
    group_.channels = image.dim() == 3 ? kHogChannels : 1;
    group_.bins = narrow(g.bins), group_.values = narrow(g.values());
    group_.cells_across = narrow(g.cells_across()), group_.cells_down = narrow(g.cells_down());
    group_.block_width = narrow(g.block.width), group_.block_height = narrow(g.block.height);
    group_.step_x = narrow(plan.step.width), group_.step_y = narrow(plan.step.height);
    group_.gamma = g.gamma, group_.full_circle = g.full_circle;
    group_.per_radian = plan.per_radian;
    group_.threshold = static_cast<float>(g.threshold);
    Parcel parcel;
    parcel.add(group_.column_weights, plan.column_weights);
    parcel.add(group_.row_weights, plan.row_weights);
    parcel.add(group_.column_taps, plan.column_taps);
    parcel.add(group_.row_taps, plan.row_taps);
    weights_ = parcel.send(image, stream);
  }

  const HogGroup& group() const { return group_; }

  // Begins a group of grids.
  void clear() {
    places_.clear();
    tables_.clear();
    group_.pixels = group_.votes = group_.lines = group_.blocks = group_.windows = 0;
  }

  void add(const HogGrid& grid, std::int64_t window_columns, std::int64_t window_rows) {
    HogPlace p = {};
    p.width = narrow(grid.width), p.height = narrow(grid.height), p.x = narrow(grid.x), p.y = narrow(grid.y);
    p.columns = narrow(grid.columns), p.rows = narrow(grid.rows);
    p.vote_width = narrow((grid.columns - 1) * group_.step_x + group_.block_width);
    p.vote_height = narrow((grid.rows - 1) * group_.step_y + group_.block_height);
    p.window_columns = narrow(window_columns), p.window_rows = narrow(window_rows);
    p.first_vote = group_.votes, p.first_line = group_.lines;
    p.first_block = group_.blocks, p.first_window = group_.windows;
    group_.votes += std::int64_t{p.vote_width} * p.vote_height;
    group_.lines += std::int64_t{p.vote_width} * p.rows * group_.cells_down;
    group_.blocks += std::int64_t{p.columns} * p.rows;
    group_.windows += window_columns * window_rows;
    places_.push_back(p);
  }

  // The same, on a level of its own.
  void add_level(const HogGrid& grid, std::int64_t window_columns, std::int64_t window_rows) {
    add(grid, window_columns, window_rows);
    HogPlace& p = places_.back();
    p.table = static_cast<std::int64_t>(tables_.size());
    p.first_pixel = group_.pixels;
    group_.pixels += grid.width * grid.height;
    for (const auto* table : {&grid.column_index, &grid.column_weight, &grid.row_index, &grid.row_weight})
      tables_.insert(tables_.end(), table->begin(), table->end());
  }

  void make_levels() {
    send();
    levels_ = scratch<float>(group_.pixels * group_.channels, image_);
    group_.levels = view(*levels_).ptr<float>();
    launch_hog_levels(group_, stream_);
  }

  // Where `out` is not given, memory of this object holds the histograms.
  void make_blocks(bool planar, float* out = nullptr) {
    send();
    if (out == nullptr) histograms_ = scratch<float>(group_.blocks * group_.values, image_);
    const Tensor shares = scratch<float>(2 * group_.votes, image_), bins = scratch<std::uint8_t>(group_.votes, image_);
    const Tensor sums = scratch<float>(group_.lines * group_.bins, image_);
    group_.first = view(shares).ptr<float>(), group_.second = group_.first + group_.votes;
    group_.bin = view(bins).ptr<std::uint8_t>();
    group_.sums = view(sums).ptr<float>();
    group_.histograms = out != nullptr ? out : view(*histograms_).ptr<float>();
    group_.planar = planar;
    launch_hog_blocks(group_, stream_);
  }

 private:
  void send() {
    Parcel parcel;
    parcel.add(group_.places, places_);
    parcel.add(group_.tables, tables_);
    places_memory_ = parcel.send(image_, stream_);
    group_.place_count = static_cast<std::int64_t>(places_.size());
  }

  const Tensor& image_;
  cudaStream_t stream_;
  HogGroup group_ = {};
  std::vector<HogPlace> places_;
  std::vector<std::int32_t> tables_;
  Tensor weights_;
  std::optional<Tensor> places_memory_, levels_, histograms_;
};

// Windows on a grid: blocks are made once, and copied into the windows that they are in.
void describe_grid(const HogGeometry& g, const HogPlacement& p, const Tensor& image, float* out, cudaStream_t stream) {
  const HogSize size = {image.size(1), image.size(0)};
  const HogGrid grid = p.grid(g, size, size.width, size.height);
  Blocks blocks(HogPlan(g, p.step), image, stream);
  blocks.add_level(grid, p.columns, p.rows);
  blocks.make_levels();
  blocks.make_blocks(false);
  const HogSize window = in_blocks(p.stride, p.step), block = in_blocks(g.stride, p.step);
  HogGather gather = {};
  gather.windows = p.columns * p.rows, gather.columns = grid.columns, gather.rows = grid.rows;
  gather.window_columns = p.columns;
  gather.size = narrow(g.size()), gather.blocks_down = narrow(g.blocks_down()), gather.values = narrow(g.values());
  gather.window_step_x = narrow(window.width), gather.window_step_y = narrow(window.height);
  gather.block_step_x = narrow(block.width), gather.block_step_y = narrow(block.height);
  launch_hog_gather(blocks.group().histograms, gather, out, stream);
}

// Windows anywhere: each is a grid, whose histograms are the descriptor.
void describe_windows(const HogGeometry& g, const std::vector<HogHit>& windows, const Tensor& image, float* out,
                      cudaStream_t stream) {
  const HogSize size = {image.size(1), image.size(0)};
  HogGrid grid(size, size.width, size.height);
  grid.columns = grid.rows = 1;
  Blocks blocks(HogPlan(g, g.stride), image, stream);
  blocks.add_level(grid, 0, 0);
  blocks.make_levels();
  grid.columns = g.blocks_across(), grid.rows = g.blocks_down();
  const auto at_once = static_cast<std::size_t>(std::max<std::int64_t>(1, kVotes / (g.window.width * g.window.height)));
  for (std::size_t begin = 0; begin < windows.size(); begin += at_once) {
    blocks.clear();
    for (std::size_t i = begin; i < std::min(begin + at_once, windows.size()); ++i) {
      grid.x = windows[i].x, grid.y = windows[i].y;
      blocks.add(grid, 0, 0);
    }
    blocks.make_blocks(false, out + static_cast<std::int64_t>(begin) * g.size());
  }
}

Tensor hog_descriptors(const Tensor& image, std::vector<std::int64_t> geometry, double win_sigma,
                       double l2_hys_threshold, bool gamma_correction, bool signed_gradient,
                       std::vector<std::int64_t> win_stride, std::vector<std::int64_t> padding,
                       std::optional<Tensor> locations) {
  constexpr const char* kOp = "hog_descriptors";
  const HogDescriptor descriptor =
      bind_torch::hog_descriptor(kOp, geometry, win_sigma, l2_hys_threshold, gamma_correction, signed_gradient);
  const HogGeometry& g = descriptor.geometry();
  const HogOptions options = bind_torch::hog_options(kOp, win_stride, padding);
  const TensorView where = bind_torch::hog_locations(kOp, locations);
  const std::vector<HogHit> windows = descriptor.windows(kOp, view(image), options, where);
  const DeviceOf device(image);
  const Tensor dense = torch::stable::contiguous(image);
  const Tensor out = empty({static_cast<std::int64_t>(windows.size()), g.size()}, image, ScalarType::Float);
  if (windows.empty()) return out;
  auto* values = view(out).ptr<float>();
  if (locations)
    describe_windows(g, windows, dense, values, device.stream());
  else
    describe_grid(g, place_windows(g, options, image.size(1), image.size(0)), dense, values, device.stream());
  return out;
}

// The windows of the levels [begin, end) that score at least the threshold, added to the hits of each level.
void search_group(Blocks& blocks, HogSearch search, const std::vector<HogLevel>& levels, std::size_t begin,
                  std::size_t end, const Tensor& image, cudaStream_t stream, std::vector<std::vector<HogHit>>& hits) {
  blocks.clear();
  for (std::size_t l = begin; l < end; ++l)
    blocks.add_level(levels[l].grid, levels[l].placement.columns, levels[l].placement.rows);
  blocks.make_levels();
  blocks.make_blocks(true);
  const std::int64_t count = blocks.group().windows;
  const Tensor windows = scratch<std::int64_t>(count, image), scores = scratch<double>(count, image),
               found = scratch<unsigned long long>(1, image);
  search.windows = view(windows).ptr<std::int64_t>();
  search.scores = view(scores).ptr<double>();
  search.count = view(found).ptr<unsigned long long>();
  launch_hog_search(blocks.group(), search, stream);
  const auto of_group = static_cast<std::size_t>(read_value(search.count, stream));
  const std::vector<std::int64_t> where = download(search.windows, of_group, stream);
  const std::vector<double> sums = download(search.scores, of_group, stream);
  std::vector<std::pair<std::int64_t, double>> sorted;
  for (std::size_t i = 0; i < of_group; ++i) sorted.emplace_back(where[i], sums[i]);
  std::sort(sorted.begin(), sorted.end());
  auto hit = sorted.begin();
  std::int64_t first = 0;
  for (std::size_t l = begin; l < end; ++l) {
    const HogPlacement& p = levels[l].placement;
    for (; hit != sorted.end() && hit->first < first + p.columns * p.rows; ++hit) {
      const std::int64_t x = (hit->first - first) % p.columns, y = (hit->first - first) / p.columns;
      hits[l].push_back(
          {narrow(x * p.stride.width - p.padding.width), narrow(y * p.stride.height - p.padding.height), hit->second});
    }
    first += p.columns * p.rows;
  }
}

std::vector<std::vector<HogHit>> search_levels(const HogDescriptor& descriptor, const Tensor& image,
                                               const std::vector<HogLevel>& levels, double threshold,
                                               cudaStream_t stream) {
  std::vector<std::vector<HogHit>> hits(levels.size());
  if (levels.empty()) return hits;
  const HogGeometry& g = descriptor.geometry();
  const HogPlacement& p = levels[0].placement;
  const HogSize window = in_blocks(p.stride, p.step), block = in_blocks(g.stride, p.step);
  const std::vector<float>& coefficients = descriptor.coefficients();
  HogSearch search = {};
  search.threshold = threshold;
  if (static_cast<std::int64_t>(coefficients.size()) > g.size())
    search.constant = static_cast<double>(coefficients.back());
  search.blocks_across = narrow(g.blocks_across()), search.blocks_down = narrow(g.blocks_down());
  search.window_step_x = narrow(window.width), search.window_step_y = narrow(window.height);
  search.block_step_x = narrow(block.width), search.block_step_y = narrow(block.height);
  Parcel parcel;
  parcel.add(search.coefficients, coefficients);
  const Tensor memory = parcel.send(image, stream);
  Blocks blocks(HogPlan(g, p.step), image, stream);
  for (std::size_t begin = 0, end; begin < levels.size(); begin = end) {
    const auto area = [&](std::size_t l) {
      return (levels[l].grid.columns * p.step.width + g.block.width) *
             (levels[l].grid.rows * p.step.height + g.block.height);
    };
    std::int64_t total = area(begin);
    for (end = begin + 1; end < levels.size() && total + area(end) <= kVotes; ++end) total += area(end);
    search_group(blocks, search, levels, begin, end, image, stream, hits);
  }
  return hits;
}

std::tuple<Tensor, Tensor> hog_detect(const Tensor& image, std::vector<std::int64_t> geometry, double win_sigma,
                                      double l2_hys_threshold, bool gamma_correction, bool signed_gradient,
                                      const Tensor& coefficients, double hit_threshold,
                                      std::vector<std::int64_t> win_stride, std::vector<std::int64_t> padding,
                                      double scale, std::int64_t min_neighbors) {
  constexpr const char* kOp = "hog_detect";
  const HogDescriptor descriptor =
      bind_torch::hog_descriptor(kOp, geometry, win_sigma, l2_hys_threshold, gamma_correction, signed_gradient)
          .with_svm(bind_torch::hog_coefficients(kOp, coefficients));
  HogOptions options = bind_torch::hog_options(kOp, win_stride, padding);
  options.hit_threshold = hit_threshold, options.scale = scale, options.min_neighbors = min_neighbors;
  check_hog_detection(kOp, descriptor, view(image), options);
  const HogGeometry& g = descriptor.geometry();
  const HogSize size = {image.size(1), image.size(0)};
  const DeviceOf device(image);
  const Tensor dense = torch::stable::contiguous(image);
  const std::vector<HogLevel> levels = hog_levels(g, size, options, false);
  const auto hits = search_levels(descriptor, dense, levels, hit_threshold, device.stream());
  const HogDetections found = hog_detections(g, size, levels, hits, min_neighbors);
  const auto count = static_cast<std::int64_t>(found.boxes.size());
  const Tensor boxes = empty({count, 4}, image, ScalarType::Int), scores = empty({count}, image, ScalarType::Double);
  upload(boxes, found.boxes.data(), found.boxes.size(), device.stream());
  upload(scores, found.scores.data(), found.scores.size(), device.stream());
  return {boxes, scores};
}

}  // namespace

SACCADE_TORCH_CUDA(m) {
  m.impl("hog_descriptors", SACCADE_BOX(hog_descriptors));
  m.impl("hog_detect", SACCADE_BOX(hog_detect));
}

}  // namespace saccade::cuda
