// The order of a feature's values.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "common/scratch.h"
#include "common/tensor_view.h"
#include "ops/radix_sort.h"

namespace saccade {

// Keys that ascend with the values; -0 and 0 have the same.
template <class T>
auto ascending_key(T value) {
  using Key = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  const Key bits = std::bit_cast<Key>(value + T{0}), sign = Key{1} << (sizeof(Key) * 8 - 1);
  return bits & sign ? static_cast<Key>(~bits) : static_cast<Key>(bits | sign);
}

// Sorts columns of n values; holds the working memory of one thread.
template <class T>
class FeatureOrder {
 public:
  using Key = decltype(ascending_key(T{}));

  explicit FeatureOrder(std::int64_t n)
      : n_(n), items_(static_cast<std::size_t>(n)), spare_(static_cast<std::size_t>(n)) {}

  // Ranks: items with ascending keys and the values' indices. Valid until the next call.
  const Keyed<Key>* sort(const T* values) {
    for (std::int64_t i = 0; i < n_; ++i)
      items_[static_cast<std::size_t>(i)] = {ascending_key(values[i]), static_cast<std::uint32_t>(i)};
    return radix_sort(items_.data(), spare_.data(), n_);
  }

 private:
  std::int64_t n_;
  Scratch<Keyed<Key>> items_, spare_;
};

// Copies the columns [first, first + count) of (n, features), float32 or float64, into rows of n values of type T.
template <class T>
void copy_columns(const TensorView& x, std::int64_t first, std::int64_t count, T* rows) {
  const std::int64_t n = x.size(0);
  for (std::int64_t i = 0; i < n; ++i) {
    const T* from = x.ptr<T>() + i * x.stride(0) + first * x.stride(1);
    for (std::int64_t f = 0; f < count; ++f) rows[f * n + i] = from[f * x.stride(1)];
  }
}

// Checks the matrix of samples and features that finders are made from.
void check_samples(const TensorView& x);

}  // namespace saccade
