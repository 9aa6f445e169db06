#include "ops/roi.h"

#include <algorithm>
#include <cmath>

#include "common/dispatch.h"
#include "math/half.h"
#include "math/roi.h"
#include "ops/checks.h"

namespace saccade {

void check_roi_arguments(const char* op, const TensorView& input, const TensorView& rois, double spatial_scale,
                         std::int64_t pooled_h, std::int64_t pooled_w) {
  require_shape(op, "input", input, "(N, C, H, W)", {-1, -1, -1, -1});
  require_shape(op, "boxes", rois, "(K, 5)", {-1, 5});
  require_floating(op, "input", input);
  require_floating(op, "boxes", rois);
  require_type((input.dtype == DType::kFloat64) == (rois.dtype == DType::kFloat64), op,
               ": boxes must be float64 where input is and nowhere else, got ", dtype_name(rois.dtype), " for ",
               dtype_name(input.dtype));
  require_same_device(op, "input", input, "boxes", rois);
  require(pooled_h > 0 && pooled_w > 0, op, ": output_size must be positive, got (", pooled_h, ", ", pooled_w, ")");
  require(std::isfinite(spatial_scale), op, ": spatial_scale must be finite, got ", spatial_scale);
  constexpr std::int64_t kMaxLength = std::int64_t{1} << 30;
  require(input.size(2) < kMaxLength && input.size(3) < kMaxLength, op,
          ": input must have fewer than 2**30 rows and columns, got ", shape_string(input));
  require(pooled_h < kMaxLength && pooled_w < kMaxLength, op, ": output_size must be below 2**30, got (", pooled_h,
          ", ", pooled_w, ")");
}

void check_sampling_ratio(const char* op, std::int64_t sampling_ratio) {
  require(sampling_ratio <= kMaxSamplingRatio, op, ": sampling_ratio must be at most ", kMaxSamplingRatio, ", got ",
          sampling_ratio);
}

template <class A>
Rois<A> read_rois(const char* op, const TensorView& rois, std::int64_t images) {
  Rois<A> result;
  const std::int64_t count = rois.size(0);
  result.image.resize(count);
  std::vector<A>* columns[] = {&result.x1, &result.y1, &result.x2, &result.y2};
  for (auto* column : columns) column->resize(count);
  dispatch_floating(rois.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (std::int64_t k = 0; k < count; ++k) {
      const T* row = rois.ptr<T>() + k * rois.stride(0);
      const A image = static_cast<A>(to_float(row[0]));
      require(is_batch_index(image, images), op, ": boxes must have batch indices in [0, ", images, "), got ", image);
      result.image[k] = static_cast<std::int64_t>(image);
      for (int j = 0; j < 4; ++j) (*columns[j])[k] = static_cast<A>(to_float(row[(j + 1) * rois.stride(1)]));
    }
  });
  return result;
}

template <class A>
RoiOrder spatial_order(const Rois<A>& rois, const std::vector<std::int64_t>& level,
                       const std::vector<RoiLevel>& levels) {
  // Regions of a run. Larger ones reuse more of the slice of 64 channels that they left in L2, until it overflows:
  // 4 to 32 regions were within 5 % of each other, 64 was slower.
  constexpr std::int64_t kRun = 16;
  constexpr A kBand = 32, kLimit = A(1 << 30);
  struct Key {
    std::int64_t map, band, column, index;
  };
  const auto cell = [&](A v) {
    return std::isfinite(v) ? static_cast<std::int64_t>(std::clamp(v, -kLimit, kLimit)) : 0;
  };
  std::vector<Key> keys(rois.size());
  for (std::int64_t k = 0; k < rois.size(); ++k) {
    const std::int64_t l = std::max<std::int64_t>(level[k], 0);
    const A half_scale = A(levels[l].scale) / A(2);
    keys[k] = {rois.image[k] * static_cast<std::int64_t>(levels.size()) + l,
               cell(std::floor((rois.y1[k] + rois.y2[k]) * half_scale / kBand)),
               cell((rois.x1[k] + rois.x2[k]) * half_scale), k};
  }
  std::sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) {
    if (a.map != b.map) return a.map < b.map;
    if (a.band != b.band) return a.band < b.band;
    return a.column != b.column ? a.column < b.column : a.index < b.index;
  });
  RoiOrder order;
  for (const Key& key : keys) {
    const auto position = static_cast<std::int64_t>(order.index.size());
    if (order.runs.empty() || order.runs.back().map != key.map || position - order.runs.back().begin == kRun)
      order.runs.push_back({key.map, position, position});
    order.runs.back().end = position + 1;
    order.index.push_back(key.index);
  }
  return order;
}

template Rois<float> read_rois<float>(const char*, const TensorView&, std::int64_t);
template Rois<double> read_rois<double>(const char*, const TensorView&, std::int64_t);
template RoiOrder spatial_order(const Rois<float>&, const std::vector<std::int64_t>&, const std::vector<RoiLevel>&);
template RoiOrder spatial_order(const Rois<double>&, const std::vector<std::int64_t>&, const std::vector<RoiLevel>&);

}  // namespace saccade
