#include <algorithm>

#include "common/parallel.h"
#include "ops/boosting.h"
#include "ops/checks.h"
#include "ops/feature_order.h"

namespace saccade {

void check_samples(const TensorView& x) {
  require_shape("SplitFinder", "x", x, "(samples, features)", {-1, -1});
  require_type(x.dtype == DType::kFloat32 || x.dtype == DType::kFloat64,
               "SplitFinder: x must be float32 or float64, got ", dtype_name(x.dtype));
  require(x.size(0) >= 1 && x.size(0) < (std::int64_t{1} << 28), "SplitFinder: x must have 1 to 2^28 - 1 samples, got ",
          shape_string(x));
}

namespace {

template <class Index>
class SortedFeatures final : public SplitFinder {
 public:
  explicit SortedFeatures(const TensorView& x)
      : blocks_((x.size(1) + kSortedLanes - 1) / kSortedLanes),
        order_(static_cast<std::size_t>(blocks_ * kSortedLanes * x.size(0))),
        open_(static_cast<std::size_t>(blocks_ * x.size(0))) {
    samples_ = x.size(0);
    features_ = x.size(1);
    bytes_ = static_cast<std::int64_t>(order_.size() * sizeof(Index) + open_.size() * sizeof(std::uint16_t));
    if (x.dtype == DType::kFloat32)
      fill<float>(x);
    else
      fill<double>(x);
  }

  void left(std::int64_t feature, std::int32_t place, bool* out) const override {
    check_place(feature);
    const Index* order = column(feature);
    for (std::int64_t i = 0; i < samples_; ++i) out[order[i * kSortedLanes]] = i <= place;
  }

 private:
  const Index* column(std::int64_t feature) const {
    return order_.data() + feature / kSortedLanes * kSortedLanes * samples_ + feature % kSortedLanes;
  }

  template <class T>
  void fill(const TensorView& x) {
    parallel_for_dynamic(blocks_, 1, [&](std::int64_t begin, std::int64_t end) {
      FeatureOrder<T> sorter(samples_);
      const Scratch<T> rows(static_cast<std::size_t>(kSortedLanes * samples_));
      for (std::int64_t block = begin; block < end; ++block) {
        const std::int64_t first = block * kSortedLanes, count = std::min(kSortedLanes, features_ - first);
        copy_columns(x, first, count, rows.data());
        Index* order = order_.data() + first * samples_;
        std::uint16_t* open = open_.data() + block * samples_;
        for (std::int64_t i = 0; i < samples_; ++i) open[i] = 0;
        for (std::int64_t f = count; f < kSortedLanes; ++f)  // never open, but added up: each sample once
          for (std::int64_t i = 0; i < samples_; ++i) order[i * kSortedLanes + f] = static_cast<Index>(i);
        for (std::int64_t f = 0; f < count; ++f) {
          const auto* ranks = sorter.sort(rows.data() + f * samples_);
          for (std::int64_t i = 0; i < samples_; ++i) {
            order[i * kSortedLanes + f] = static_cast<Index>(ranks[i].index);
            const bool differs = i + 1 < samples_ && ranks[i].key != ranks[i + 1].key;
            open[i] = static_cast<std::uint16_t>(open[i] | differs << f);
          }
        }
      }
    });
  }

  void search(SplitCriterion criterion, const std::vector<std::int32_t>& weights, const Splits& out) const override {
    const auto kernel = [&] {
      if constexpr (sizeof(Index) == 2)
        return boosting_kernels().sorted16;
      else
        return boosting_kernels().sorted32;
    }();
    parallel_for_dynamic(blocks_, std::max<std::int64_t>(1, 8192 / samples_),
                         [&](std::int64_t begin, std::int64_t end) {
                           for (std::int64_t block = begin; block < end; ++block) {
                             float worth[kSortedLanes];
                             std::int32_t place[kSortedLanes];
                             const std::int64_t first = block * kSortedLanes;
                             kernel(criterion, order_.data() + first * samples_, open_.data() + block * samples_,
                                    weights.data(), samples_, {worth, place});
                             const std::int64_t count = std::min(kSortedLanes, features_ - first);
                             std::copy_n(worth, count, out.worth + first);
                             std::copy_n(place, count, out.place + first);
                           }
                         });
  }

  void sums(std::int64_t feature, const double* weights, std::vector<Sums>& out) const override {
    const Index* order = column(feature);
    const std::uint16_t* open = open_.data() + feature / kSortedLanes * samples_;
    Sums step{};
    for (std::int64_t i = 0; i < samples_; ++i) {
      const double w = weights[order[i * kSortedLanes]];
      step.sum += w;
      step.mass += std::abs(w);
      step.place = static_cast<std::int32_t>(i);
      if (open[i] >> feature % kSortedLanes & 1) out.push_back(step);
    }
  }

  std::int64_t blocks_;
  Scratch<Index> order_;         // (blocks, samples, 16)
  Scratch<std::uint16_t> open_;  // (blocks, samples): a bit for each feature
};

}  // namespace

std::unique_ptr<SplitFinder> sorted_features(const TensorView& x) {
  check_samples(x);
  if (x.size(0) <= 65536) return std::make_unique<SortedFeatures<std::uint16_t>>(x);
  return std::make_unique<SortedFeatures<std::uint32_t>>(x);
}

}  // namespace saccade
