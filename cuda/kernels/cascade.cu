// Cascade detection. The levels of a group go through every kernel together, as most of them are too small for a
// device: their integral images lie one below the other, and a search among the levels finds whose a row or window is.
//
// 1. Integral images: a warp makes a row of a level's pixels and its running sums; then a thread owns a column.
//    Tilted: as in integral_image.cu, along both diagonals, a thread each.
// 2. The first stage of all windows, a thread each; OpenCV's rule of windows that are stepped over.
// 3. The other stages on lists of the windows left, a thread each, in passes of twice as many stages each time: what a
//    pass turns away leaves the warps of the next one full. Lists have no order; the host sorts the few hits.
#include <cmath>
#include <utility>

#include "cuda/common/launch.cuh"
#include "cuda/common/places.cuh"
#include "cuda/common/scan.cuh"
#include "cuda/kernels/cascade.h"
#include "kernels/cascade_window.h"
#include "math/linear_exact.h"

namespace saccade::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kFew = 64;  // threads per block where a thread has long work

enum State : std::uint8_t { kFlat, kRejected, kPassed };  // kFlat: too little contrast

// The level that holds a row or window.
template <std::int64_t CascadeLevelPlace::* first>
__device__ const CascadeLevelPlace& level_of(const CascadeGroup& group, std::int64_t index) {
  return place_of<first>(group.levels, group.level_count, index);
}

// ---- Integral images ----

__device__ unsigned sample(const CascadeGroup& group, const CascadeLevelPlace& level, std::int64_t x, std::int64_t y) {
  const std::int32_t *columns = group.tables + level.table, *rows = columns + 2 * level.width;
  const std::int64_t x0 = columns[x], x1 = x0 + 1 < group.image_width ? x0 + 1 : x0;
  const std::int64_t y0 = rows[y], y1 = y0 + 1 < group.image_height ? y0 + 1 : y0;
  const auto wx = static_cast<unsigned>(columns[level.width + x]), wy = static_cast<unsigned>(rows[level.height + y]);
  return linear_exact_sample(group.image + y0 * group.image_width, group.image + y1 * group.image_width, x0, x1, wx,
                             wy);
}

__global__ void __launch_bounds__(kThreads) level_rows_kernel(CascadeGroup group) {
  const std::int64_t row = thread_index() / kWarp;
  if (row >= group.rows) return;  // the whole warp
  const CascadeLevelPlace& level = level_of<&CascadeLevelPlace::first_row>(group, row);
  const std::int64_t y = row - level.first_row - 1;
  if (y < 0) return;  // the columns begin with zeros by themselves
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  std::uint32_t *sums = group.integral + row * group.row, *squares = sums + group.squares;
  if (lane == 0) {
    sums[0] = 0;
    squares[0] = 0;
  }
  unsigned total = 0, total_squares = 0;
  for (std::int64_t first = 0; first < level.width; first += kWarp) {
    const std::int64_t x = first + lane;
    const bool inside = x < level.width;
    const unsigned pixel = inside ? sample(group, level, x, y) : 0u;
    const unsigned sum = total + warp_scan(pixel, lane);
    total = __shfl_sync(0xffffffffu, sum, kWarp - 1);
    if (inside) sums[x + 1] = sum;
    if (inside && group.tilted) group.pixels[row * group.max_width + x] = static_cast<std::uint8_t>(pixel);
    if (group.squares) {
      const unsigned square = total_squares + warp_scan(pixel * pixel, lane);
      total_squares = __shfl_sync(0xffffffffu, square, kWarp - 1);
      if (inside) squares[x + 1] = square;
    }
  }
}

// Adds to each row the one above it; row 0 becomes zero. `planes`: sums, squares, tilted sums.
__global__ void __launch_bounds__(kFew) level_columns_kernel(CascadeGroup group, std::int64_t planes) {
  constexpr int kAhead = 16;
  const std::int64_t columns = group.max_width + 1, index = thread_index();
  if (index >= group.level_count * planes * columns) return;
  const CascadeLevelPlace& level = group.levels[index / columns / planes];
  const std::int64_t plane = index / columns % planes, x = index % columns;
  if (x > level.width) return;
  std::uint32_t* p = group.integral + level.first_row * group.row + x;
  if (plane == 1) p += group.squares;
  if (plane == 2) p += group.tilted;
  *p = 0;
  std::uint32_t total = 0;
  for (std::int64_t y = 1; y <= level.height; y += kAhead) {
    std::uint32_t loaded[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) loaded[i] = y + i <= level.height ? p[(y + i) * group.row] : 0u;
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      total += loaded[i];
      if (y + i <= level.height) p[(y + i) * group.row] = total;
    }
  }
}

// Stores the sums along the diagonals x - y = const, down to the right, each with its last pixel.
__global__ void __launch_bounds__(kFew) level_right_kernel(CascadeGroup group) {
  const std::int64_t diagonals = group.max_width + group.max_height, index = thread_index();
  if (index >= group.level_count * diagonals) return;
  const CascadeLevelPlace& level = group.levels[index / diagonals];
  const std::int64_t difference = index % diagonals - (level.height - 1);
  std::uint32_t total = 0;
  for (std::int64_t y = 0; y < level.height; ++y) {
    const std::int64_t x = y + difference, row = level.first_row + 1 + y;
    if (x < 0 || x >= level.width) continue;
    total += group.pixels[row * group.max_width + x];
    group.integral[row * group.row + group.tilted + 1 + x] = total;
  }
}

// Adds the sums along the diagonals x + y = const, down to the left, each without its last pixel. Such a diagonal
// leaves the image through column 0 of the output, where there is nothing else.
__global__ void __launch_bounds__(kFew) level_left_kernel(CascadeGroup group) {
  const std::int64_t diagonals = group.max_width + group.max_height, index = thread_index();
  if (index >= group.level_count * diagonals) return;
  const CascadeLevelPlace& level = group.levels[index / diagonals];
  const std::int64_t sum = index % diagonals - 1;
  std::uint32_t total = 0;
  for (std::int64_t y = 0; y < level.height; ++y) {
    const std::int64_t x = sum - y, row = level.first_row + 1 + y;
    if (x < -1 || x >= level.width) continue;
    std::uint32_t& to = group.integral[row * group.row + group.tilted + 1 + x];
    if (x < 0) {
      to = total;
    } else {
      to += total;
      total += group.pixels[row * group.max_width + x];
    }
  }
}

// ---- Windows ----

struct Window {
  const std::uint32_t* at;  // its first corner
  std::int64_t column;
};

__device__ Window window_of(const CascadeGroup& group, std::int64_t index) {
  const CascadeLevelPlace& level = level_of<&CascadeLevelPlace::first_window>(group, index);
  const std::int64_t local = index - level.first_window, x = local % level.columns, y = local / level.columns;
  return {group.integral + (level.first_row + y * level.step) * group.row + x * level.step, x};
}

// Whether there is enough contrast, and the scale of feature values, 1 / (area * standard deviation); LBP takes all.
__device__ bool contrast(const CascadePlan& plan, const std::uint32_t* at, float& scale) {
  scale = 1;
  if (!plan.haar) return true;
  const std::int32_t* o = plan.norm_offset;
  const std::uint32_t* squared = at + plan.square_offset;
  const std::uint32_t sum = at[o[0]] - at[o[1]] - at[o[2]] + at[o[3]];
  const std::uint32_t squares = squared[o[0]] - squared[o[1]] - squared[o[2]] + squared[o[3]];
  const double total = static_cast<std::int32_t>(sum);
  const double variance = plan.area * static_cast<double>(squares) - total * total;
  if (!(variance > plan.least_variance)) return false;
  scale = static_cast<float>(1.0 / sqrt(variance));
  return true;
}

__device__ bool passes(const CascadePlan& plan, std::int32_t stage, const std::uint32_t* at, float scale) {
  const CascadeStage& s = plan.stages[stage];
  return !(stage_sum_one(plan, s, at, scale) < s.threshold);
}

__device__ void append(const CascadeList& list, std::int64_t window) {
  list.windows[atomicAdd(list.count, 1ull)] = window;
}

__global__ void __launch_bounds__(kThreads)
    first_stage_kernel(CascadeGroup group, CascadePlan plan, std::uint8_t* state) {
  const std::int64_t index = thread_index();
  if (index >= group.windows) return;
  const std::uint32_t* at = window_of(group, index).at;
  float scale;
  state[index] = !contrast(plan, at, scale) ? kFlat : passes(plan, 0, at, scale) ? kPassed : kRejected;
}

// OpenCV steps over the window behind one that the first stage rejects, unless that one was itself stepped over: of a
// run of rejected windows every second one. Only the window behind a run looks back along it.
__global__ void __launch_bounds__(kThreads)
    step_over_kernel(CascadeGroup group, const std::uint8_t* state, CascadeList passed) {
  const std::int64_t index = thread_index();
  if (index >= group.windows || state[index] != kPassed) return;
  const std::int64_t column = window_of(group, index).column;
  std::int64_t run = 0;
  while (run < column && state[index - 1 - run] == kRejected) ++run;
  if (run % 2 == 0) append(passed, index);
}

// Stages [first, end).
__global__ void __launch_bounds__(kThreads) stages_kernel(CascadeGroup group, CascadePlan plan, std::int32_t first,
                                                          std::int32_t end, CascadeList in, CascadeList out) {
  const auto count = static_cast<std::int64_t>(*in.count);
  for (std::int64_t i = thread_index(); i < count; i += std::int64_t{gridDim.x} * blockDim.x) {
    const std::uint32_t* at = window_of(group, in.windows[i]).at;
    float scale;
    contrast(plan, at, scale);
    std::int32_t stage = first;
    while (stage < end && passes(plan, stage, at, scale)) ++stage;
    if (stage == end) append(out, in.windows[i]);
  }
}

__global__ void __launch_bounds__(kThreads)
    scores_kernel(CascadeGroup group, CascadePlan plan, CascadeList hits, double* scores) {
  const auto count = static_cast<std::int64_t>(*hits.count);
  for (std::int64_t i = thread_index(); i < count; i += std::int64_t{gridDim.x} * blockDim.x) {
    const std::uint32_t* at = window_of(group, hits.windows[i]).at;
    float scale;
    contrast(plan, at, scale);
    scores[i] = stage_sum_one(plan, plan.stages[plan.stage_count - 1], at, scale);
  }
}

void launch_integral(const CascadeGroup& group, cudaStream_t stream) {
  launch({blocks_for(group.rows, kThreads / kWarp), kThreads, stream}, level_rows_kernel, group);
  if (group.tilted) {
    const LaunchShape by_diagonal = {blocks_for(group.level_count * (group.max_width + group.max_height), kFew), kFew,
                                     stream};
    launch(by_diagonal, level_right_kernel, group);
    launch(by_diagonal, level_left_kernel, group);
  }
  const std::int64_t planes = group.tilted ? 3 : group.squares ? 2 : 1;
  launch({blocks_for(group.level_count * planes * (group.max_width + 1), kFew), kFew, stream}, level_columns_kernel,
         group, planes);
}

}  // namespace

CascadeList launch_cascade(const CascadeGroup& group, const CascadePlan& plan, const CascadeSearch& search,
                           cudaStream_t stream) {
  constexpr unsigned kMaxBlocks = 2048;  // about what a large device holds at once
  launch_integral(group, stream);
  check(cudaMemsetAsync(search.counts, 0, kCascadeLists * sizeof(*search.counts), stream), "cascade_detect");
  const LaunchShape all = {blocks_for(group.windows, kThreads), kThreads, stream};
  const LaunchShape some = {all.grid.x < kMaxBlocks ? all.grid.x : kMaxBlocks, kThreads, stream};
  CascadeList list = {search.windows[0], search.counts}, next = {search.windows[1], search.counts + 1};
  launch(all, first_stage_kernel, group, plan, search.state);
  launch(all, step_over_kernel, group, search.state, list);
  for (std::int64_t first = 1, length = 2; first < plan.stage_count; first += length, length *= 2) {
    const std::int64_t end = first + length < plan.stage_count ? first + length : plan.stage_count;
    launch(some, stages_kernel, group, plan, static_cast<std::int32_t>(first), static_cast<std::int32_t>(end), list,
           next);
    std::swap(list, next);
    next.count = list.count + 1;
  }
  launch(some, scores_kernel, group, plan, list, search.scores);
  return list;
}

}  // namespace saccade::cuda
