// A block that owns a tile of a gradient: it finds the regions whose bins touch the tile and, for a few of them at a
// time, which bins touch which of its cells, and how much. Used by the gradients that gather: no element has two
// writers, and each is summed in the order of the regions' numbers.
#pragma once

#include "cuda/kernels/roi.cuh"

namespace saccade::cuda {

constexpr int kStagedBins = 32, kStagedRegions = kRoiWarps / 2;

// Bins [first_bin, first_bin + 32) of one axis of a region against kCells cells.
template <class A, int kCells>
struct StagedAxis {
  A weight[kStagedBins][kCells + 1];  // one more: a warp's lanes, a bin each, meet 32 banks
  unsigned bins[kCells];              // bit b: bin first_bin + b has weight at the cell
};

// By one warp: a bin per lane, then a cell per lane.
template <class A, int kCells>
__device__ void stage_axis(const RegionAxis<A>& axis, BinKind kind, std::int64_t first_bin, std::int64_t bins,
                           std::int64_t length, std::int64_t low, StagedAxis<A, kCells>& staged) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t p = first_bin + lane, high = low + kCells < length ? low + kCells : length;
  for (int j = 0; j < kCells; ++j) staged.weight[lane][j] = A(0);
  if (p < bins) add_weights(axis, kind, p, length, low, high, staged.weight[lane]);
  __syncwarp();
  if (lane >= kCells) return;
  const int used = bins - first_bin < kStagedBins ? static_cast<int>(bins - first_bin) : kStagedBins;
  unsigned mask = 0;
  for (int b = 0; b < used; ++b) mask |= static_cast<unsigned>(staged.weight[b][lane] != A(0)) << b;
  staged.bins[lane] = mask;
}

template <class A, int kRows, int kColumns>
struct StagedRegion {
  StagedAxis<A, kRows> y;
  StagedAxis<A, kColumns> x;
};

template <class A, int kRows, int kColumns>
struct TileShared {
  int warp_counts[kRoiWarps];
  std::int32_t hits[kRoiThreads];
  StagedRegion<A, kRows, kColumns> staged[kStagedRegions];
};

struct Tile {
  std::int64_t map, row, column, h, w;  // its first cell, and the size of the map
};

// Calls add(region number, staged region, first bin row, first bin column) in every thread, for all that touches the
// tile.
template <class A, int kRows, int kColumns, class Add>
__device__ void for_regions_on(const Tile& tile, BinKind kind, std::int64_t pooled_h, std::int64_t pooled_w,
                               const Region<A>* regions, const std::int32_t* order, const std::int32_t* map_begin,
                               TileShared<A, kRows, kColumns>& shared, const Add& add) {
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp;
  const std::int32_t end = map_begin[tile.map + 1];
  for (std::int32_t first = map_begin[tile.map]; first < end; first += kRoiThreads) {
    std::int32_t k = 0;
    bool touches = false;
    if (first + thread < end) {
      k = order[first + thread];
      const Region<A>& region = regions[k];
      touches = region.y.first < tile.row + kRows && region.y.end > tile.row &&
                region.x.first < tile.column + kColumns && region.x.end > tile.column;
    }
    const Place place = place_of(touches, shared.warp_counts);
    if (touches) shared.hits[place.index] = k;
    __syncthreads();
    for (int hit = 0; hit < place.count; hit += kStagedRegions) {
      const int staged = place.count - hit < kStagedRegions ? place.count - hit : kStagedRegions;
      for (std::int64_t p = 0; p < pooled_h; p += kStagedBins) {
        for (std::int64_t q = 0; q < pooled_w; q += kStagedBins) {
          if (warp / 2 < staged) {
            const Region<A>& region = regions[shared.hits[hit + warp / 2]];
            StagedRegion<A, kRows, kColumns>& into = shared.staged[warp / 2];
            if (warp % 2 == 0) {
              stage_axis(region.y, kind, p, pooled_h, tile.h, tile.row, into.y);
            } else {
              stage_axis(region.x, kind, q, pooled_w, tile.w, tile.column, into.x);
            }
          }
          __syncthreads();
          for (int i = 0; i < staged; ++i) add(shared.hits[hit + i], shared.staged[i], p, q);
          __syncthreads();
        }
      }
    }
  }
}

}  // namespace saccade::cuda
