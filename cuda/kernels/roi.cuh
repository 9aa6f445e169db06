// Device code that the region-of-interest kernels share.
#pragma once

#include <cstdint>

#include "cuda/common/launch.cuh"
#include "cuda/kernels/roi.h"

namespace saccade::cuda {

constexpr int kRoiThreads = 256, kWarp = 32, kRoiWarps = kRoiThreads / kWarp;
constexpr unsigned kAllLanes = 0xffffffffu;

// This thread's place among the threads of the block whose flag is set, and their number. Every thread must call it.
struct Place {
  int index, count;
};
__device__ inline Place place_of(bool flag, int (&warp_counts)[kRoiWarps]) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const unsigned set = __ballot_sync(kAllLanes, flag);
  if (lane == 0) warp_counts[warp] = __popc(set);
  __syncthreads();
  Place place = {__popc(set & ((1u << lane) - 1)), 0};
  for (int w = 0; w < kRoiWarps; ++w) {
    if (w < warp) place.index += warp_counts[w];
    place.count += warp_counts[w];
  }
  __syncthreads();
  return place;
}

// The cells that a kind of bins can touch on an axis of `length` cells: [0, result).
__device__ inline std::int64_t usable_length(BinKind kind, std::int64_t length) {
  return kind == BinKind::kMeans ? length - 1 : length;
}

// Cells outside of which the bins [first_bin, end_bin) have no weight; a few too many where positions are rounded.
struct Reach {
  std::int32_t first, end;
};
template <class A>
__device__ Reach reach_of(const RegionAxis<A>& axis, BinKind kind, std::int64_t first_bin, std::int64_t end_bin,
                          std::int64_t length) {
  const auto clip = [length](double v) {
    return static_cast<std::int32_t>(!(v > 0) ? 0 : v > double(length) ? double(length) : v);
  };
  if (kind != BinKind::kSamples) {
    const std::int64_t usable = usable_length(kind, length);
    return {static_cast<std::int32_t>(cell_range(axis.cells, first_bin, usable).first),
            static_cast<std::int32_t>(cell_range(axis.cells, end_bin - 1, usable).end)};
  }
  if (axis.samples.grid == 0) return {0, 0};
  const double epsilon = sizeof(A) == sizeof(float) ? 6e-8 : 1.2e-16;
  const double start = double(axis.samples.start), bin = double(axis.samples.bin);
  const double a = start + double(first_bin) * bin, b = start + double(end_bin) * bin;
  const double margin = 1 + 8 * epsilon * (fabs(start) + fabs(a) + fabs(b));
  return {clip((a < b ? a : b) - margin), clip((a < b ? b : a) + margin + 1)};
}

// weight[cell - low] += what bin p adds to each cell of [low, high), as roi_taps.cpp has it.
template <class A>
__device__ void add_weights(const RegionAxis<A>& axis, BinKind kind, std::int64_t p, std::int64_t length,
                            std::int64_t low, std::int64_t high, A* weight) {
  if (kind != BinKind::kSamples) {
    const CellRange range = cell_range(axis.cells, p, usable_length(kind, length));
    const A share = A(1) / A(range.end - range.first);
    const std::int64_t end = range.end < high ? range.end : high;
    for (std::int64_t cell = range.first > low ? range.first : low; cell < end; ++cell) weight[cell - low] = share;
    return;
  }
  const SampleRange range = sample_range(axis.samples, p, low, high);
  for (std::int64_t i = range.first; i < range.last; ++i) {
    const LinearSample<A> sample = linear_sample(sample_position(axis.samples, p, i), length);
    if (!sample.valid) continue;
    if (sample.low >= low && sample.low < high) weight[sample.low - low] += sample.low_weight;
    if (sample.high >= low && sample.high < high) weight[sample.high - low] += sample.high_weight;
  }
  const A share = A(1) / A(axis.samples.grid);
  for (std::int64_t cell = low; cell < high; ++cell) weight[cell - low] *= share;
}

// How the kernels that write pooled regions share them out: a thread owns one bin of one region for kVec channels.
// channels_last: neighbouring threads own neighbouring channels. Else they own neighbouring bins, for kPlanes channels.
constexpr int kPlanes = 4;

struct BinShape {
  std::int64_t channels, pooled_h, pooled_w;
  unsigned items, blocks;  // threads with work, and blocks, of one region
  constexpr std::int64_t bins() const { return pooled_h * pooled_w; }
};

struct BinItem {
  std::int64_t region, p, q, bin, channel;
  int planes;  // channels there are, of kVec
};
// False for a thread without work.
template <int kVec, bool kLast>
__device__ bool bin_item(const BinShape& shape, BinItem& item) {
  const unsigned number = blockIdx.x % shape.blocks * kRoiThreads + threadIdx.x;
  if (number >= shape.items) return false;
  const unsigned bins = static_cast<unsigned>(shape.bins()), groups = shape.items / bins;
  const unsigned bin = kLast ? number / groups : number % bins, group = kLast ? number % groups : number / bins;
  const unsigned pooled_w = static_cast<unsigned>(shape.pooled_w);
  const std::int64_t channel = static_cast<std::int64_t>(group) * kVec, left = shape.channels - channel;
  item = {blockIdx.x / shape.blocks,
          bin / pooled_w,
          bin % pooled_w,
          bin,
          channel,
          left < kVec ? static_cast<int>(left) : kVec};
  return true;
}
// Where the item's first channel is in a result; the next is one further, or bins() further without channels_last.
template <bool kLast>
__device__ std::int64_t bin_offset(const BinShape& shape, const BinItem& item) {
  return kLast ? (item.region * shape.bins() + item.bin) * shape.channels + item.channel
               : (item.region * shape.channels + item.channel) * shape.bins() + item.bin;
}

inline BinShape bin_shape(std::int64_t channels, std::int64_t pooled_h, std::int64_t pooled_w, int vec) {
  const std::int64_t items = pooled_h * pooled_w * ((channels + vec - 1) / vec);
  if (items > 0x7fffffff)
    throw std::runtime_error("saccade: regions of " + std::to_string(pooled_h) + " * " + std::to_string(pooled_w) +
                             " bins and " + std::to_string(channels) + " channels are too large for CUDA");
  return {channels, pooled_h, pooled_w, static_cast<unsigned>(items), blocks_for(items, kRoiThreads)};
}

}  // namespace saccade::cuda
