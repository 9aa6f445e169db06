#include <cmath>

#include "common/parallel.h"
#include "ops/boosting.h"
#include "ops/checks.h"
#include "ops/feature_order.h"

namespace saccade {
namespace {

constexpr std::int64_t kFeatures = 32;  // worked on together by one thread
constexpr std::int64_t kWindows = 256;  // windows whose integral images lie together: 0.6 MB at 24 x 24

// Equal values share a bin; 256 values or fewer have one each.
template <class Key>
void write_bins(const Keyed<Key>* ranks, std::int64_t n, std::uint8_t* bins) {
  std::int64_t distinct = n > 0;
  for (std::int64_t i = 1; i < n; ++i) distinct += ranks[i].key != ranks[i - 1].key;
  std::int64_t bin = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    if (i > 0 && ranks[i].key != ranks[i - 1].key) bin = distinct <= kBins ? bin + 1 : i * kBins / n;
    bins[ranks[i].index] = static_cast<std::uint8_t>(bin);
  }
}

template <class T>
void bin_columns(const TensorView& x, std::int64_t begin, std::int64_t end, std::uint8_t* bins, std::int64_t stride) {
  const std::int64_t n = x.size(0);
  FeatureOrder<T> sorter(n);
  const Scratch<T> rows(static_cast<std::size_t>(kFeatures * n));
  copy_columns(x, begin, end - begin, rows.data());
  for (std::int64_t f = begin; f < end; ++f)
    write_bins(sorter.sort(rows.data() + (f - begin) * n), n, bins + f * stride);
}

}  // namespace

BinnedFeatures::BinnedFeatures(std::int64_t samples, std::int64_t features)
    : stride_((samples + 63) / 64 * 64), bins_(static_cast<std::size_t>(stride_ * features)) {
  samples_ = samples;
  features_ = features;
  bytes_ = stride_ * features;
}

BinnedFeatures::BinnedFeatures(const TensorView& x) : BinnedFeatures((check_samples(x), x.size(0)), x.size(1)) {
  parallel_for_dynamic(features_, kFeatures, [&](std::int64_t begin, std::int64_t end) {
    if (x.dtype == DType::kFloat32)
      bin_columns<float>(x, begin, end, bins_.data(), stride_);
    else
      bin_columns<double>(x, begin, end, bins_.data(), stride_);
  });
}

void BinnedFeatures::left(std::int64_t feature, std::int32_t place, bool* out) const {
  check_place(feature);
  for (std::int64_t i = 0; i < samples_; ++i) out[i] = row(feature)[i] <= place;
}

void BinnedFeatures::search(SplitCriterion criterion, const std::vector<std::int32_t>& weights,
                            const Splits& out) const {
  std::vector<std::int32_t> chosen;
  std::vector<std::int64_t> packed;
  for (std::int64_t i = 0; i < samples_; ++i)
    if (const std::int64_t w = weights[static_cast<std::size_t>(i)]; w != 0) {
      chosen.push_back(static_cast<std::int32_t>(i));
      packed.push_back((std::abs(w) << 32) + w);
    }
  const auto count = static_cast<std::int64_t>(chosen.size());
  const std::int32_t* list = count == samples_ ? nullptr : chosen.data();
  const auto kernel = boosting_kernels().binned;
  parallel_for_dynamic(features_, std::max<std::int64_t>(4, 65536 / (count + kBins)),
                       [&](std::int64_t begin, std::int64_t end) {
                         kernel(criterion, row(begin), stride_, list, packed.data(), count, end - begin,
                                {out.worth + begin, out.place + begin});
                       });
}

void BinnedFeatures::sums(std::int64_t feature, const double* weights, std::vector<Sums>& out) const {
  out.assign(kBins, {});
  for (std::int64_t i = 0; i < samples_; ++i) {
    Sums& bin = out[row(feature)[i]];
    bin.sum += weights[i];
    bin.mass += std::abs(weights[i]);
  }
  for (std::int32_t b = 0; b < kBins; ++b) {
    out[static_cast<std::size_t>(b)].place = b;
    if (b > 0) {
      out[static_cast<std::size_t>(b)].sum += out[static_cast<std::size_t>(b - 1)].sum;
      out[static_cast<std::size_t>(b)].mass += out[static_cast<std::size_t>(b - 1)].mass;
    }
  }
  out.pop_back();
}

namespace {

std::int64_t checked_windows(const TensorView& sums, const TensorView& tilted, const HaarTable& table,
                             const TensorView& scale) {
  const char* op = "HaarBins";
  TensorView windows;  // one row for each image, at its corner
  windows.dtype = DType::kInt64;
  windows.ndim = 2;
  windows.sizes[1] = 3;
  check_haar_features(op, sums, tilted, table, windows);
  require_dtype(op, "integral", sums, DType::kInt32);
  require(sums.size(0) >= 1 && sums.size(1) == table.height + 1 && sums.size(2) == table.width + 1, op,
          ": integral must have shape (n, ", table.height + 1, ", ", table.width + 1, "), got ", shape_string(sums));
  require_shape(op, "scale", scale, "(n,)", {sums.size(0)});
  require_dtype(op, "scale", scale, DType::kFloat32);
  check_haar_table(op, tilted, table);
  return sums.size(0);
}

}  // namespace

HaarBins::HaarBins(const TensorView& sums, const TensorView& tilted, const HaarTable& table, const TensorView& scale)
    : BinnedFeatures(checked_windows(sums, tilted, table, scale), table.columns.size(0)),
      points_((table.width + 1) * (table.height + 1) * (tilted.dtype != DType::kUnsupported ? 2 : 1)),
      padded_((sums.size(0) + 15) / 16 * 16),
      sums_(static_cast<std::size_t>(points_ * padded_)),
      scale_(static_cast<std::size_t>(padded_)) {
  const std::int64_t area = (table.width + 1) * (table.height + 1);
  for (std::int64_t first = 0; first < padded_; first += kWindows) {
    const std::int64_t count = std::min(kWindows, padded_ - first);
    std::int32_t* to = sums_.data() + first * points_;
    for (std::int64_t i = 0; i < count; ++i) {
      const bool inside = first + i < samples_;
      scale_[static_cast<std::size_t>(first + i)] = inside ? scale.ptr<float>()[(first + i) * scale.stride(0)] : 0.0f;
      for (std::int64_t p = 0; p < points_; ++p) {
        const std::int32_t* from = (p < area ? sums : tilted).ptr<std::int32_t>() + (first + i) * area + p % area;
        to[p * count + i] = inside ? *from : 0;
      }
    }
  }
  const std::int64_t rows = table.kinds.size(0);
  kinds_.assign(table.kinds.ptr<std::int32_t>(), table.kinds.ptr<std::int32_t>() + rows * kHaarKindFields);
  offsets_.assign(table.offsets.ptr<std::uint16_t>(), table.offsets.ptr<std::uint16_t>() + table.offsets.size(0));
  places_.resize(static_cast<std::size_t>(features_));
  std::int64_t feature = 0;
  const auto* column = table.columns.ptr<std::int64_t>();
  first_offset_.push_back(0);
  for (std::int64_t k = 0; k < rows; ++k) {
    const std::int32_t* kind = &kinds_[static_cast<std::size_t>(k * kHaarKindFields)];
    for (std::int32_t f = 0; f < kind[0]; ++f)
      places_[static_cast<std::size_t>(column[feature++])] = {static_cast<std::int32_t>(k), f};
    first_offset_.push_back(first_offset_.back() + static_cast<std::int64_t>(kind[0]) * kind[1]);
  }

  std::vector<Place> order;  // as the table has them: neighbours share their corners
  for (std::int64_t f = 0; f < features_; ++f) order.push_back(places_[static_cast<std::size_t>(column[f])]);
  parallel_for_dynamic(features_, kFeatures, [&](std::int64_t begin, std::int64_t end) {
    FeatureOrder<float> sorter(samples_);
    const Scratch<float> rows_of(static_cast<std::size_t>((end - begin) * padded_));
    for (std::int64_t chunk = 0; chunk < padded_; chunk += kWindows)
      for (std::int64_t f = begin, same; f < end; f += same) {
        const Place place = order[static_cast<std::size_t>(f)];
        for (same = 1; f + same < end && order[static_cast<std::size_t>(f + same)].kind == place.kind;) ++same;
        HaarRows run = run_of(place.kind, chunk);
        run.offsets += place.index;
        boosting_kernels().haar_rows(run, same, rows_of.data() + (f - begin) * padded_ + chunk, padded_);
      }
    for (std::int64_t f = begin; f < end; ++f)
      write_bins(sorter.sort(rows_of.data() + (f - begin) * padded_), samples_, row(column[f]));
  });
  bytes_ += static_cast<std::int64_t>(sums_.size() * sizeof(std::int32_t));
}

HaarRows HaarBins::run_of(std::int32_t kind, std::int64_t chunk) const {
  const std::int32_t* fields = &kinds_[static_cast<std::size_t>(kind * kHaarKindFields)];
  return {sums_.data() + chunk * points_,
          std::min(kWindows, padded_ - chunk),
          scale_.data() + chunk,
          offsets_.data() + first_offset_[static_cast<std::size_t>(kind)],
          fields[0],
          fields + 2,
          fields[1]};
}

void HaarBins::values(std::int64_t feature, float* out) const {
  check_place(feature);
  const Place place = places_[static_cast<std::size_t>(feature)];
  const Scratch<float> row_of(static_cast<std::size_t>(padded_));
  for (std::int64_t chunk = 0; chunk < padded_; chunk += kWindows) {
    HaarRows run = run_of(place.kind, chunk);
    run.offsets += place.index;
    boosting_kernels().haar_rows(run, 1, row_of.data() + chunk, padded_);
  }
  std::copy_n(row_of.data(), samples_, out);
}

}  // namespace saccade
