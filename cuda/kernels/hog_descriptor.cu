// The HOG descriptor and detector as on the CPU (csrc/kernels/hog_blocks.cpp, csrc/ops/hog_detect.cpp): the same terms,
// added up in the same order. The levels of a group go through every kernel together, as most are too small for a
// device.
//
// 1. Levels: a thread per pixel; resized, its root taken.
// 2. Votes: a thread per pixel that blocks cover, for all blocks that it is in.
// 3. Sums over the rows of a block, for each of its rows of cells: a thread owns a column and all bins, in shared
// memory
//    of its own; each vote is added to two of them. No atomics, and no other thread's.
// 4. Sums over columns: a thread per value of a block.
// 5. Normalisation: a thread per block, which takes the order of the CPU's sums.
// 6. Descriptors: a thread per value copies it. Detection: a warp per row of blocks of 32 windows; the first warp then
//    adds up the rows' sums.
//
// Floor at 1920 x 1080, one level, stride 8: 2 MB are read; votes, 19 MB, and sums, 18 MB, are written, and read again
// from L2, 10 us together at 4 TB/s. All descriptors are 423 MB, 105 us. Scores: 106 million products, each with two
// loads from L1, 30 us; all 44 levels at a scale of 1.05 ten times as many.
#include <algorithm>
#include <cmath>

#include "cuda/common/launch.cuh"
#include "cuda/common/places.cuh"
#include "cuda/common/scan.cuh"
#include "cuda/kernels/hog_descriptor.h"
#include "math/hog_votes.h"
#include "math/linear_exact.h"
#include "ops/hog_detect.h"

namespace saccade::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kScoreWarps = 16;

template <std::int64_t HogPlace::* first>
__device__ const HogPlace& place_of(const HogGroup& group, std::int64_t index) {
  return place_of<first>(group.places, group.place_count, index);
}

__global__ void __launch_bounds__(kThreads) hog_level_kernel(HogGroup group) {
  const std::int64_t index = thread_index();
  if (index >= group.pixels) return;
  const HogPlace& place = place_of<&HogPlace::first_pixel>(group, index);
  const Split at = split(index - place.first_pixel, place.width);
  const std::int64_t x = at.rest, y = at.quotient, channels = group.channels;
  const std::int32_t *columns = group.tables + place.table, *rows = columns + 2 * place.width;
  const std::int64_t x0 = columns[x], x1 = x0 + 1 < group.image_width ? x0 + 1 : x0;
  const std::int64_t y0 = rows[y], y1 = y0 + 1 < group.image_height ? y0 + 1 : y0;
  const auto wx = static_cast<unsigned>(columns[place.width + x]), wy = static_cast<unsigned>(rows[place.height + y]);
  const std::uint8_t* above = group.image + y0 * group.image_width * channels;
  const std::uint8_t* below = group.image + y1 * group.image_width * channels;
  const std::int64_t plane = static_cast<std::int64_t>(place.width) * place.height;
  float* to = group.levels + place.first_pixel * channels + (index - place.first_pixel);
  for (std::int64_t c = 0; c < channels; ++c) {
    const auto value =
        static_cast<float>(linear_exact_sample(above + c, below + c, x0 * channels, x1 * channels, wx, wy));
    to[c * plane] = group.gamma ? std::sqrt(value) : value;
  }
}

__global__ void __launch_bounds__(kThreads) hog_vote_kernel(HogGroup group) {
  const std::int64_t index = thread_index();
  if (index >= group.votes) return;
  const HogPlace& place = place_of<&HogPlace::first_vote>(group, index);
  const Split at = split(index - place.first_vote, place.vote_width);
  const std::int64_t x = place.x + at.rest, y = place.y + at.quotient, width = place.width, height = place.height;
  const std::int64_t column = hog_mirror(x, width), row = hog_mirror(y, height);
  const std::int64_t left = row * width + hog_mirror(x - 1, width), right = row * width + hog_mirror(x + 1, width);
  const std::int64_t above = hog_mirror(y - 1, height) * width + column;
  const std::int64_t below = hog_mirror(y + 1, height) * width + column;
  const float* plane = group.levels + place.first_pixel * group.channels;
  float dx = plane[right] - plane[left], dy = plane[below] - plane[above];
  float largest = dx * dx + dy * dy;
  for (int c = 1; c < group.channels; ++c) {
    plane += width * height;
    hog_keep_largest<HogNumbers>(dx, dy, largest, plane[right] - plane[left], plane[below] - plane[above]);
  }
  const HogVoteOf<float> vote = hog_vote<HogNumbers>(dx, dy, group.bins, group.per_radian, group.full_circle);
  group.first[index] = vote.first;
  group.second[index] = vote.second;
  group.bin[index] = static_cast<std::uint8_t>(vote.bin);
}

__global__ void __launch_bounds__(kThreads) hog_line_kernel(HogGroup group) {
  const std::int64_t index = thread_index();
  if (index >= group.lines) return;
  const HogPlace& place = place_of<&HogPlace::first_line>(group, index);
  const Split line = split(index - place.first_line, place.vote_width);
  const std::int64_t x = line.rest, width = place.vote_width;
  const Split cell = split(line.quotient, group.cells_down);
  const int bins = group.bins, stride = static_cast<int>(blockDim.x);
  float* sums = dynamic_shared<float>() + threadIdx.x;
  for (int b = 0; b < bins; ++b) sums[b * stride] = 0;
  const float* weights = group.row_weights + cell.rest * group.block_height;
  const std::int32_t end = group.row_taps[2 * cell.rest + 1];
  for (std::int32_t i = group.row_taps[2 * cell.rest]; i < end; ++i) {
    const std::int64_t at = place.first_vote + (cell.quotient * group.step_y + i) * width + x;
    const float weight = weights[i];
    const int bin = group.bin[at], next = bin + 1 < bins ? bin + 1 : 0;
    sums[bin * stride] = std::fma(group.first[at], weight, sums[bin * stride]);
    if (bins > 1) sums[next * stride] = std::fma(group.second[at], weight, sums[next * stride]);
  }
  float* to = group.sums + place.first_line * bins + line.quotient * bins * width + x;
  for (int b = 0; b < bins; ++b) to[b * width] = sums[b * stride];
}

// A thread per float of the histograms, in the order in which they stand.
__global__ void __launch_bounds__(kThreads) hog_value_kernel(HogGroup group) {
  const std::int64_t index = thread_index();
  if (index >= group.blocks * group.values) return;
  const HogPlace& place = place_of<&HogPlace::first_block>(group, split(index, group.values).quotient);
  const std::int64_t local = index - place.first_block * group.values;
  const Split outer = split(local, group.planar ? place.columns : group.values);
  const Split inner = split(outer.quotient, group.planar ? group.values : place.rows);
  const std::int64_t value = group.planar ? inner.rest : outer.rest, x = group.planar ? outer.rest : inner.quotient;
  const std::int64_t row = group.planar ? inner.quotient : inner.rest;
  const auto bin = static_cast<int>(value) % group.bins, cell = static_cast<int>(value) / group.bins;
  const int across = cell / group.cells_down, down = cell % group.cells_down;
  const std::int64_t line = row * group.cells_down + down, width = place.vote_width;
  const float* sums = group.sums + place.first_line * group.bins + (line * group.bins + bin) * width + x * group.step_x;
  const float* weights = group.column_weights + static_cast<std::int64_t>(across) * group.block_width;
  float sum = 0;
  for (std::int32_t i = group.column_taps[2 * across]; i < group.column_taps[2 * across + 1]; ++i)
    sum = std::fma(sums[i], weights[i], sum);
  group.histograms[index] = sum;
}

__global__ void __launch_bounds__(kThreads) hog_normalise_kernel(HogGroup group) {
  const std::int64_t index = thread_index();
  if (index >= group.blocks) return;
  if (!group.planar)
    return hog_normalise<HogNumbers, float>(group.histograms + index * group.values, 1, group.values, group.threshold);
  const HogPlace& place = place_of<&HogPlace::first_block>(group, index);
  const Split at = split(index - place.first_block, place.columns);
  float* values = group.histograms + (place.first_block + at.quotient * place.columns) * group.values + at.rest;
  hog_normalise<HogNumbers, float>(values, place.columns, group.values, group.threshold);
}

__global__ void __launch_bounds__(kThreads) hog_gather_kernel(const float* histograms, HogGather g, float* out) {
  const std::int64_t index = thread_index();
  if (index >= g.windows * g.size) return;
  const Split window = split(index, g.size), at = split(window.quotient, g.window_columns);
  const auto local = static_cast<int>(window.rest);
  const int value = local % g.values, block = local / g.values;
  const std::int64_t column = at.rest * g.window_step_x + block / g.blocks_down * g.block_step_x;
  const std::int64_t row = at.quotient * g.window_step_y + block % g.blocks_down * g.block_step_y;
  out[index] = histograms[(column * g.rows + row) * g.values + value];
}

// The part of a window's score that a row of its blocks adds. `values`: of the row's first block.
__device__ float row_score(const HogGroup& group, const HogSearch& search, const float* values, std::int64_t columns,
                           std::int32_t row) {
  float sum = 0;
  for (std::int32_t c = 0; c < search.blocks_across; ++c, values += search.block_step_x) {
    const float* coefficients =
        search.coefficients + (static_cast<std::int64_t>(c) * search.blocks_down + row) * group.values;
#pragma unroll 4
    for (std::int32_t k = 0; k < group.values; ++k) sum = std::fma(values[k * columns], coefficients[k], sum);
  }
  return sum;
}

__global__ void __launch_bounds__(kScoreWarps* kWarp) hog_score_kernel(HogGroup group, HogSearch search) {
  SACCADE_SHARED(float[kScoreWarps][kWarp], sums);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const std::int64_t index = std::int64_t{blockIdx.x} * kWarp + lane;
  const bool inside = index < group.windows;
  const HogPlace& place = place_of<&HogPlace::first_window>(group, inside ? index : 0);
  const Split at = split(inside ? index - place.first_window : 0, place.window_columns);
  const std::int64_t top = at.quotient * search.window_step_y, columns = place.columns;
  const float* corner = group.histograms + place.first_block * group.values + at.rest * search.window_step_x;
  double score = search.constant;
  float of_band = 0;
  std::int64_t band = top / kHogBand;
  for (std::int32_t first = 0; first < search.blocks_down; first += warps) {
    const std::int32_t row = first + warp, end = min(first + warps, search.blocks_down);
    if (row < end) {
      const std::int64_t in_grid = top + static_cast<std::int64_t>(row) * search.block_step_y;
      sums[warp][lane] = row_score(group, search, corner + in_grid * group.values * columns, columns, row);
    }
    __syncthreads();
    if (warp == 0)
      for (std::int32_t r = first; r < end; ++r) {
        const std::int64_t own = (top + static_cast<std::int64_t>(r) * search.block_step_y) / kHogBand;
        if (own != band) {
          score += static_cast<double>(of_band);
          of_band = 0;
          band = own;
        }
        of_band += sums[r - first][lane];
      }
    __syncthreads();
  }
  score += static_cast<double>(of_band);
  if (warp != 0 || !inside || !(score >= search.threshold)) return;
  const unsigned long long slot = atomicAdd(search.count, 1ull);
  search.windows[slot] = index;
  search.scores[slot] = score;
}

// A thread's bins fit into the shared memory that every device has.
int line_threads(std::int32_t bins) {
  constexpr int kFloats = 48 * 1024 / sizeof(float);
  return std::min(kThreads, kFloats / bins / kWarp * kWarp);
}

}  // namespace

void launch_hog_levels(const HogGroup& group, cudaStream_t stream) {
  launch({blocks_for(group.pixels, kThreads), kThreads, stream}, hog_level_kernel, group);
}

void launch_hog_blocks(const HogGroup& group, cudaStream_t stream) {
  const int threads = line_threads(group.bins);
  const std::size_t shared = static_cast<std::size_t>(threads) * static_cast<std::size_t>(group.bins) * sizeof(float);
  launch({blocks_for(group.votes, kThreads), kThreads, stream}, hog_vote_kernel, group);
  launch({blocks_for(group.lines, threads), static_cast<unsigned>(threads), stream, shared}, hog_line_kernel, group);
  launch({blocks_for(group.blocks * group.values, kThreads), kThreads, stream}, hog_value_kernel, group);
  launch({blocks_for(group.blocks, kThreads), kThreads, stream}, hog_normalise_kernel, group);
}

void launch_hog_gather(const float* histograms, const HogGather& gather, float* out, cudaStream_t stream) {
  launch({blocks_for(gather.windows * gather.size, kThreads), kThreads, stream}, hog_gather_kernel, histograms, gather,
         out);
}

void launch_hog_search(const HogGroup& group, const HogSearch& search, cudaStream_t stream) {
  check(cudaMemsetAsync(search.count, 0, sizeof(*search.count), stream), "filling with zeros");
  const int threads = std::min(kScoreWarps, search.blocks_down) * kWarp;
  launch({blocks_for(group.windows, kWarp), static_cast<unsigned>(threads), stream}, hog_score_kernel, group, search);
}

}  // namespace saccade::cuda
