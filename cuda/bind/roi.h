// What the bindings of the region-of-interest operators share: regions, and the scratch memory of what is made of them.
#pragma once

#include <cstdint>

#include "cuda/common/torch.h"
#include "cuda/kernels/roi.h"

namespace saccade::cuda {

// Of an operator that reads one map.
inline RoiGeometry one_map(BinKind kind, const RoiSampling& sampling, const TensorView& map, double spatial_scale,
                           std::int64_t pooled_h, std::int64_t pooled_w) {
  return {kind, sampling, map.size(0), pooled_h, pooled_w, 1, {{map.size(2), map.size(3), spatial_scale}}, 1, 0};
}

template <class A>
class RegionsOf {
 public:
  RegionsOf(const Tensor& rois, const RoiGeometry& geometry, cudaStream_t stream)
      : geometry_(geometry), stream_(stream), count_(rois.size(0)), memory_(scratch<Region<A>>(count_, rois)) {
    launch_roi_regions<A>(view(rois), geometry_, regions(), stream_);
  }

  std::int64_t count() const { return count_; }
  Region<A>* regions() const { return view(memory_).template ptr<Region<A>>(); }

  // Calls body(first region, count, begins, taps) for one batch of regions after another.
  template <class Body>
  void for_taps(const Body& body) const {
    const std::int64_t batch = tap_batch(geometry_, count_, sizeof(Tap<A>));
    const Tensor begins = scratch<std::int32_t>(batch * (geometry_.pooled_h + geometry_.pooled_w + 2), memory_);
    const Tensor taps = scratch<Tap<A>>(batch * tap_layout(geometry_).stride(), memory_);
    auto* begin = view(begins).template ptr<std::int32_t>();
    auto* tap = view(taps).template ptr<Tap<A>>();
    for (std::int64_t first = 0; first < count_; first += batch) {
      const std::int64_t count = count_ - first < batch ? count_ - first : batch;
      launch_roi_taps<A>(regions() + first, count, geometry_, begin, tap, stream_);
      body(first, count, begin, tap);
    }
  }

  // Calls body(order, map_begin).
  template <class Body>
  void with_order(const Body& body) const {
    const std::int64_t maps = geometry_.images * geometry_.levels;
    const Tensor order = scratch<std::int32_t>(count_, memory_), begins = scratch<std::int32_t>(maps + 1, memory_);
    auto* numbers = view(order).template ptr<std::int32_t>();
    auto* map_begin = view(begins).template ptr<std::int32_t>();
    launch_roi_order<A>(regions(), count_, maps, numbers, map_begin, stream_);
    body(numbers, map_begin);
  }

 private:
  const RoiGeometry& geometry_;
  const cudaStream_t stream_;
  const std::int64_t count_;
  const Tensor memory_;
};

}  // namespace saccade::cuda
