// The gradient of a map from that of pooled regions, roi_align's and roi_pool's: every cell gathers from the bins that
// touch it.
//
// A block owns a tile of one map for a slab of channels, its sums in registers. channels_last: a warp owns a row of 8
// cells, a lane kVec channels of it. NCHW: a warp owns a row of 32 cells, a lane one of them in 16 planes. Sums are
// float32 (float64 for float64), in the order of the regions' numbers.
// Floor for the example of roi_align.cu: 50 MB of gradients in, 56 MB out, 22 us. A region covers 655 cells there and
// each reads its bins from L1 and L2: 0.6 gradients a cell in channels_last, where a row of cells shares them, 1.6 in
// NCHW: some 100 us.
#pragma once

#include "cuda/common/pack.cuh"
#include "cuda/kernels/roi_tile.cuh"

namespace saccade::cuda {

constexpr int kGatherRows = kRoiWarps, kGatherPlanes = 16;

// Columns of a tile, and how many of them a thread owns.
template <bool kLast>
constexpr int kGatherColumns = kLast ? 8 : kWarp;
template <bool kLast>
constexpr int kOwnColumns = kLast ? 8 : 1;

struct GatherShape {
  BinKind kind;
  std::int64_t images, channels, pooled_h, pooled_w, h, w;
  std::int64_t levels, level;  // which of the regions' maps it is
};

template <class A, int kColumns, int kVec>
struct GatherSums {
  A value[kColumns][kVec] = {};
};

// One region's bins, as one thread sees them.
template <class A, bool kLast>
struct GatherBins {
  const StagedRegion<A, kGatherRows, kGatherColumns<kLast>>& staged;
  std::int64_t region, first_row, first_column;  // the first staged bin
  std::int64_t channel;                          // the thread's first, of `channels`
  int row;                                       // of the tile, the warp's own
  std::int64_t first_cell;                       // number of the thread's first cell in its plane: row * w + column
};

// Source::add_last, add_planar: add a region's bins to a thread's sums.
template <class Source, class T, class A, int kVec, bool kLast>
__global__ void __launch_bounds__(kRoiThreads, 2)
    roi_gather_kernel(Source source, GatherShape shape, const Region<A>* regions, const std::int32_t* order,
                      const std::int32_t* map_begin, T* grad_map) {
  constexpr int kColumns = kGatherColumns<kLast>, kOwn = kOwnColumns<kLast>, kSlab = kLast ? kWarp * kVec : kVec;
  using Shared = TileShared<A, kGatherRows, kColumns>;
  SACCADE_SHARED(Shared, shared);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t slabs = (shape.channels + kSlab - 1) / kSlab;
  const std::int64_t column_tiles = (shape.w + kColumns - 1) / kColumns;
  const std::int64_t row_tiles = (shape.h + kGatherRows - 1) / kGatherRows;
  std::int64_t rest = blockIdx.x;
  const std::int64_t slab = rest % slabs;
  rest /= slabs;
  const std::int64_t column = rest % column_tiles * kColumns;
  rest /= column_tiles;
  const std::int64_t image = rest / row_tiles;
  const Tile tile = {image * shape.levels + shape.level, rest % row_tiles * kGatherRows, column, shape.h, shape.w};

  const std::int64_t y = tile.row + warp, x = tile.column + (kLast ? 0 : lane);
  const std::int64_t channel = slab * kSlab + (kLast ? lane * kVec : 0);
  const bool works = channel < shape.channels && y < shape.h && x < shape.w;
  GatherSums<A, kOwn, kVec> sums;
  for_regions_on(tile, shape.kind, shape.pooled_h, shape.pooled_w, regions, order, map_begin, shared,
                 [&](std::int64_t k, const auto& staged, std::int64_t p, std::int64_t q) {
                   if (!works || staged.y.bins[warp] == 0) return;
                   const GatherBins<A, kLast> bins = {staged, k, p, q, channel, warp, y * shape.w + x};
                   source.add(shape, bins, sums);
                 });
  if (!works) return;
  if constexpr (kLast) {
    T* cell = grad_map + ((image * shape.h + y) * shape.w + x) * shape.channels + channel;
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      if (x + j >= shape.w) break;
      Pack<T, kVec> pack;
      for (int v = 0; v < kVec; ++v) pack.value[v] = from_float<T>(sums.value[j][v]);
      store_pack(cell + j * shape.channels, pack);
    }
  } else {
    T* cell = grad_map + ((image * shape.channels + channel) * shape.h + y) * shape.w + x;
#pragma unroll
    for (int v = 0; v < kVec; ++v)
      if (channel + v < shape.channels) cell[v * shape.h * shape.w] = from_float<T>(sums.value[0][v]);
  }
}

template <class Source, class T, class A, int kVec, bool kLast>
void launch_gather_as(const Source& source, const GatherShape& shape, const Region<A>* regions,
                      const std::int32_t* order, const std::int32_t* map_begin, T* grad_map, cudaStream_t stream) {
  constexpr int kSlab = kLast ? kWarp * kVec : kVec;
  const auto pieces = [](std::int64_t length, int piece) { return (length + piece - 1) / piece; };
  const std::int64_t blocks = shape.images * pieces(shape.h, kGatherRows) * pieces(shape.w, kGatherColumns<kLast>) *
                              pieces(shape.channels, kSlab);
  launch({blocks_for(blocks, 1), kRoiThreads, stream}, roi_gather_kernel<Source, T, A, kVec, kLast>, source, shape,
         regions, order, map_begin, grad_map);
}

// packed: elements lie so that several channels can be loaded at once (made_of_packs, kGatherPackBytes). Worth it from
// 32 of those on: with fewer channels a warp would have lanes without work.
template <class T>
constexpr int kGatherPack = sizeof(T) == 8 ? 2 : 4;

template <class Source, class T, class A>
void launch_gather(const Source& source, const GatherShape& shape, bool channels_last, bool packed,
                   const Region<A>* regions, const std::int32_t* order, const std::int32_t* map_begin, T* grad_map,
                   cudaStream_t stream) {
  constexpr int kVec = kGatherPack<T>;
  const auto run = !channels_last                             ? launch_gather_as<Source, T, A, kGatherPlanes, false>
                   : packed && shape.channels >= kWarp * kVec ? launch_gather_as<Source, T, A, kVec, true>
                                                              : launch_gather_as<Source, T, A, 1, true>;
  run(source, shape, regions, order, map_begin, grad_map, stream);
}

}  // namespace saccade::cuda
