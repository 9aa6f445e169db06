#include "ops/suppression.h"

#include <bit>
#include <type_traits>

#include "common/dispatch.h"
#include "math/half.h"
#include "ops/checks.h"
#include "ops/radix_sort.h"

namespace saccade {
namespace {

// An unsigned key whose ascending order is the descending order of x; NaN is 0, -0 is 0's key.
template <class A>
auto descending_key(A x) {
  using Key = std::conditional_t<sizeof(A) == 4, std::uint32_t, std::uint64_t>;
  constexpr Key kSign = Key{1} << (sizeof(A) * 8 - 1);
  const Key bits = std::bit_cast<Key>(x + A{0});  // -0 + 0 is +0
  const Key key = (bits & kSign) != 0 ? bits : bits ^ static_cast<Key>(~kSign);
  return x != x ? Key{0} : key;
}

template <class T>
Scratch<std::uint32_t> order_typed(const TensorView& scores) {
  using A = decltype(to_float(T{}));
  using Key = decltype(descending_key(A{}));
  const std::int64_t n = scores.size(0), step = scores.stride(0);
  const T* score = scores.ptr<T>();
  Scratch<Keyed<Key>> items(2 * static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i)
    items[i] = {descending_key(to_float(score[i * step])), static_cast<std::uint32_t>(i)};
  const Keyed<Key>* sorted = radix_sort(items.data(), items.data() + n, n);
  Scratch<std::uint32_t> order(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) order[i] = sorted[i].index;
  return order;
}

}  // namespace

void check_suppression(const char* op, const TensorView& boxes, const TensorView& scores, double iou_threshold,
                       std::optional<std::int64_t> max_output) {
  require_shape(op, "scores", scores, "(N,)", {-1});
  require(boxes.size(0) == scores.size(0), op, ": boxes and scores must have the same length, got ", boxes.size(0),
          " and ", scores.size(0));
  require(boxes.size(0) <= kMaxBoxes, op, ": boxes must have at most ", kMaxBoxes, " rows, got ", boxes.size(0));
  require_floating(op, "boxes", boxes);
  require_same_dtype(op, "boxes", boxes, "scores", scores);
  require_same_device(op, "boxes", boxes, "scores", scores);
  require(!std::isnan(iou_threshold), op, ": iou_threshold must be a number, got nan");
  require(!max_output || *max_output >= 0, op, ": max_output must be at least 0, got ", max_output.value_or(0));
}

Scratch<std::uint32_t> score_order(const TensorView& scores) {
  return dispatch_floating(scores.dtype, [&](auto tag) { return order_typed<typename decltype(tag)::type>(scores); });
}

}  // namespace saccade
