// Planar (NCHW) maps for kernels that want channels innermost: a slice of kRoiChannels channels is turned channels-last
// first, of the whole map where the regions would read more cells than it has, else region by region.
// Measured, 256x200x272, one thread: a whole map takes 14 ms; the region-wise turn costs the same per cell.
#pragma once

#include <algorithm>
#include <vector>

#include "common/large_output.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/channel_block.h"
#include "kernels/roi_align.h"
#include "ops/roi.h"

namespace saccade {

// Turns the bins of a region, channels innermost, into planes of the output. A slice of planes is one stretch of
// memory: where the output is larger than the caches it is put together in L1 and written around them.
template <class T>
class PlaneWriter {
 public:
  // out: (regions, channels, area).
  PlaneWriter(const TensorView& out, std::int64_t channels, std::int64_t area)
      : out_(out.ptr<T>()),
        channels_(channels),
        area_(area),
        past_caches_(past_caches(out.data, out.numel() * sizeof(T), channels * area * sizeof(T))),
        planes_(past_caches_ ? kRoiChannels * area : 0) {}

  template <class A>
  void write(const A* bins, std::int64_t region, std::int64_t c, std::int64_t count) const {
    const auto& kernels = channel_block_kernels();
    T* to = out_ + (region * channels_ + c) * area_;
    const std::int64_t bytes = count * area_ * static_cast<std::int64_t>(sizeof(T));
    if (!past_caches_ || bytes % 64 != 0)
      return kernels.template get<T>().unpack(bins, kRoiChannels, count, area_, to, area_);
    kernels.template get<T>().unpack(bins, kRoiChannels, count, area_, planes_.data(), area_);
    kernels.copy_past_caches(planes_.data(), to, bytes);
  }

 private:
  T* out_;
  std::int64_t channels_, area_;
  bool past_caches_;
  Scratch<T> planes_;
};

// Visits every region with every slice of channels, in parallel. `region_of(block)` gives a block's RegionBlock;
// `make_worker()` makes what one thread needs, and worker(map, block, i, c, count) handles region i of a block on
// channels [c, c + count). T is the element type of the maps, A that of the slices.
template <class T, class A, class Block, class RegionOf, class MakeWorker>
class PlanarRegions {
 public:
  PlanarRegions(const std::vector<Block>& blocks, const std::vector<TensorView>& maps, const RegionOf& region_of,
                const MakeWorker& make_worker)
      : blocks_(blocks), maps_(maps), region_of_(region_of), make_worker_(make_worker), channels_(maps[0].size(1)) {}

  void run() const {
    std::vector<const Block*> apart;
    std::size_t end = 0;
    for (std::size_t begin = 0; begin < blocks_.size(); begin = end) {
      const std::int64_t map = region_of_(blocks_[begin]).map;
      std::int64_t cells = 0;
      for (end = begin; end < blocks_.size() && region_of_(blocks_[end]).map == map; ++end)
        cells += region_of_(blocks_[end]).cells;
      if (cells > map_of(map).size(2) * map_of(map).size(3)) {
        run_whole_map(map, begin, end);
      } else {
        for (std::size_t b = begin; b < end; ++b) apart.push_back(&blocks_[b]);
      }
    }
    parallel_for_dynamic(apart.size(), 1, [&](std::int64_t first, std::int64_t last) {
      auto worker = make_worker_();
      for (std::int64_t b = first; b < last; ++b) run_region_by_region(*apart[b], worker);
    });
  }

 private:
  // Turned at a time: few enough planes for the hardware to follow each, and rows enough to fill a page of each.
  // 3.5 ms less for 256 planes of 200x272 than 64 planes at once.
  static constexpr std::int64_t kPackedPlanes = 16, kPackedRows = 4;

  const TensorView& map_of(std::int64_t number) const {
    return maps_[number % static_cast<std::int64_t>(maps_.size())];
  }
  const T* plane(std::int64_t number, std::int64_t c) const {
    const std::int64_t image = number / static_cast<std::int64_t>(maps_.size());
    return map_of(number).template ptr<T>() + (image * channels_ + c) * map_of(number).size(2) * map_of(number).size(3);
  }

  void run_whole_map(std::int64_t number, std::size_t begin, std::size_t end) const {
    const std::int64_t h = map_of(number).size(2), w = map_of(number).size(3);
    const std::int64_t width = std::min(kRoiChannels, channels_);
    const auto pack = channel_block_kernels().template get<T>().pack;
    Scratch<A> slice(h * w * width);
    advise_huge_pages(slice.data(), slice.size() * sizeof(A));
    for (std::int64_t c = 0; c < channels_; c += kRoiChannels) {
      const std::int64_t count = std::min(kRoiChannels, channels_ - c);
      parallel_for(h, 1, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t y = first; y < last; y += kPackedRows)
          for (std::int64_t i = 0; i < count; i += kPackedPlanes)
            pack(plane(number, c + i) + y * w, h * w, std::min(kPackedPlanes, count - i),
                 std::min(kPackedRows, last - y) * w, slice.data() + y * w * width + i, width);
      });
      parallel_for_dynamic(end - begin, 1, [&](std::int64_t first, std::int64_t last) {
        auto worker = make_worker_();
        for (std::int64_t b = first; b < last; ++b)
          for (std::size_t i = 0; i < region_of_(blocks_[begin + b]).roi.size(); ++i)
            worker(MapBlock<const A>{slice.data(), w * width, width, 0, h, 0}, blocks_[begin + b], i, c, count);
      });
    }
  }

  template <class Worker>
  void run_region_by_region(const Block& block, Worker& worker) const {
    const RegionBlock& region = region_of_(block);
    const std::int64_t h = map_of(region.map).size(2), w = map_of(region.map).size(3);
    const auto pack = channel_block_kernels().template get<T>().pack;
    for (std::size_t i = 0; i < region.roi.size(); ++i) {
      const CellRect& rect = region.rect[i];
      const std::int64_t columns = rect.end_column - rect.first_column;
      Scratch<A> crop((rect.end_row - rect.first_row) * columns * kRoiChannels);
      for (std::int64_t c = 0; c < channels_; c += kRoiChannels) {
        const std::int64_t count = std::min(kRoiChannels, channels_ - c);
        for (std::int64_t y = rect.first_row; y < rect.end_row; ++y)
          pack(plane(region.map, c) + y * w + rect.first_column, h * w, count, columns,
               crop.data() + (y - rect.first_row) * columns * kRoiChannels, kRoiChannels);
        worker(MapBlock<const A>{crop.data(), columns * kRoiChannels, kRoiChannels, rect.first_row, rect.end_row,
                                 rect.first_column},
               block, i, c, count);
      }
    }
  }

  const std::vector<Block>& blocks_;
  const std::vector<TensorView>& maps_;
  const RegionOf& region_of_;
  const MakeWorker& make_worker_;
  const std::int64_t channels_;
};

template <class T, class A, class Block, class RegionOf, class MakeWorker>
void for_planar_regions(const std::vector<Block>& blocks, const std::vector<TensorView>& maps,
                        const RegionOf& region_of, const MakeWorker& make_worker) {
  PlanarRegions<T, A, Block, RegionOf, MakeWorker>(blocks, maps, region_of, make_worker).run();
}

}  // namespace saccade
