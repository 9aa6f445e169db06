#include "ops/label_groups.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include "common/dispatch.h"
#include "math/half.h"
#include "ops/radix_sort.h"

namespace saccade {
namespace {

// Items whose key is `alone` form a group each.
template <class Key, class KeyOf>
LabelGroups group_by_key(const Scratch<std::uint32_t>& order, const KeyOf& key_of, std::optional<Key> alone = {}) {
  const auto n = static_cast<std::int64_t>(order.size());
  const Scratch<Keyed<Key>> items(2 * order.size());
  for (std::int64_t i = 0; i < n; ++i) items[i] = {key_of(order[i]), order[i]};
  const Keyed<Key>* sorted = radix_sort(items.data(), items.data() + n, n);
  LabelGroups groups{Scratch<std::uint32_t>(order.size()), {}};
  for (std::int64_t i = 0; i < n; ++i) {
    groups.members[i] = sorted[i].index;
    if (i + 1 == n || sorted[i + 1].key != sorted[i].key || sorted[i].key == alone) groups.ends.push_back(i + 1);
  }
  return groups;
}

template <class T>
LabelGroups group_typed(const TensorView& labels, const Scratch<std::uint32_t>& order) {
  const T* p = labels.ptr<T>();
  const std::int64_t step = labels.stride(0);
  if constexpr (std::is_integral_v<T>) {
    // 32-bit keys where the values allow, as they nearly always do: half the memory to move.
    T least = std::numeric_limits<T>::max(), greatest = std::numeric_limits<T>::min();
    for (std::int64_t i = 0; i < labels.size(0); ++i)
      least = std::min(least, p[i * step]), greatest = std::max(greatest, p[i * step]);
    const auto base = static_cast<std::uint64_t>(least);
    if (static_cast<std::uint64_t>(greatest) - base > 0xffffffffu)
      return group_by_key<std::uint64_t>(order,
                                         [&](std::int64_t i) { return static_cast<std::uint64_t>(p[i * step]); });
    return group_by_key<std::uint32_t>(order, [&](std::int64_t i) {
      return static_cast<std::uint32_t>(static_cast<std::uint64_t>(p[i * step]) - base);
    });
  } else {
    const auto nan = std::bit_cast<std::uint64_t>(std::numeric_limits<double>::quiet_NaN());
    const auto key_of = [&](std::int64_t i) {
      const double value = static_cast<double>(to_float(p[i * step])) + 0.0;  // -0 becomes 0
      return value != value ? nan : std::bit_cast<std::uint64_t>(value);
    };
    return group_by_key<std::uint64_t>(order, key_of, nan);
  }
}

}  // namespace

LabelGroups group_by_label(const TensorView& labels, const Scratch<std::uint32_t>& order) {
  switch (labels.dtype) {
    case DType::kBool:  // one byte, 0 or 1
    case DType::kUInt8: return group_typed<std::uint8_t>(labels, order);
    case DType::kInt8: return group_typed<std::int8_t>(labels, order);
    case DType::kInt16: return group_typed<std::int16_t>(labels, order);
    case DType::kInt32: return group_typed<std::int32_t>(labels, order);
    case DType::kInt64: return group_typed<std::int64_t>(labels, order);
    default:
      return dispatch_floating(labels.dtype,
                               [&](auto tag) { return group_typed<typename decltype(tag)::type>(labels, order); });
  }
}

}  // namespace saccade
