#include "ops/nms.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>

#include "common/dispatch.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/nms.h"
#include "math/half.h"
#include "ops/checks.h"
#include "ops/label_groups.h"
#include "ops/suppression.h"

namespace saccade {

void check_nms(const char* op, const TensorView& boxes, const TensorView& scores, double iou_threshold,
               std::optional<std::int64_t> max_output) {
  require_shape(op, "boxes", boxes, "(N, 4)", {-1, 4});
  check_suppression(op, boxes, scores, iou_threshold, max_output);
}

namespace {

void check_idxs(const char* op, const TensorView& boxes, const TensorView& idxs) {
  require_shape(op, "idxs", idxs, "(N,)", {-1});
  require(boxes.size(0) == idxs.size(0), op, ": boxes and idxs must have the same length, got ", boxes.size(0), " and ",
          idxs.size(0));
  require_type(idxs.dtype != DType::kUnsupported, op, ": idxs must be integers or floats, got ",
               dtype_name(idxs.dtype));
  require_same_device(op, "boxes", boxes, "idxs", idxs);
}

}  // namespace

void check_batched_nms(const TensorView& boxes, const TensorView& scores, const TensorView& idxs, double iou_threshold,
                       std::optional<std::int64_t> max_output) {
  check_nms("batched_nms", boxes, scores, iou_threshold, max_output);
  check_idxs("batched_nms", boxes, idxs);
}

void check_nms_padded(const TensorView& boxes, const TensorView& scores, const std::optional<TensorView>& idxs,
                      double iou_threshold, std::int64_t max_output) {
  check_nms("nms_padded", boxes, scores, iou_threshold, max_output);
  if (idxs) check_idxs("nms_padded", boxes, *idxs);
}

namespace {

// Rows of four without gaps in the accumulator type: the caller's memory where it has that form, else a copy.
template <class T, class A = decltype(to_float(T{}))>
const A* contiguous_rows(const TensorView& boxes, Scratch<A>& copy) {
  if constexpr (std::is_same_v<T, A>) {
    if (boxes.is_contiguous()) return boxes.ptr<A>();
  }
  copy = Scratch<A>(static_cast<std::size_t>(boxes.size(0)) * 4);
  for (std::int64_t i = 0; i < boxes.size(0); ++i)
    for (std::int64_t k = 0; k < 4; ++k)
      copy[i * 4 + k] = to_float(boxes.ptr<T>()[i * boxes.stride(0) + k * boxes.stride(1)]);
  return copy.data();
}

struct Ranks {
  const std::uint32_t* data;
  std::int64_t count;
};
Ranks suppress(const NmsProblem<float>& problem) {
  const std::int64_t count = nms_kernels().suppress_float(problem);
  return {static_cast<const std::uint32_t*>(problem.memory), count};
}
Ranks suppress(const NmsProblem<double>& problem) {
  const std::int64_t count = nms_kernels().suppress_double(problem);
  return {static_cast<const std::uint32_t*>(problem.memory), count};
}

template <class T>
std::vector<std::int64_t> nms_typed(const TensorView& boxes, const TensorView& scores, double iou_threshold,
                                    std::int64_t max_output) {
  using A = decltype(to_float(T{}));
  const std::int64_t n = boxes.size(0);
  const Scratch<std::uint32_t> order = score_order(scores);
  Scratch<A> copy(0);
  const A* rows = contiguous_rows<T>(boxes, copy);
  const Scratch<std::byte> memory(nms_memory_bytes<A>(n));
  const Ranks kept = suppress({rows, order.data(), n, largest_not_above<A>(iou_threshold), max_output, memory.data()});
  std::vector<std::int64_t> keep(static_cast<std::size_t>(kept.count));
  for (std::int64_t i = 0; i < kept.count; ++i) keep[i] = order[kept.data[i]];
  return keep;
}

template <class T>
std::vector<std::int64_t> batched_nms_typed(const TensorView& boxes, const TensorView& scores, const TensorView& idxs,
                                            double iou_threshold, std::int64_t max_output) {
  using A = decltype(to_float(T{}));
  const std::int64_t n = boxes.size(0);
  const Scratch<std::uint32_t> order = score_order(scores);
  const auto [members, ends] = group_by_label(idxs, order);
  Scratch<A> copy(0);
  const A* rows = contiguous_rows<T>(boxes, copy);
  const A threshold = largest_not_above<A>(iou_threshold);
  const Scratch<std::uint8_t> is_kept(static_cast<std::size_t>(n));
  std::fill_n(is_kept.data(), n, std::uint8_t{0});
  const auto begin_of = [&ends = ends](std::int64_t g) { return g == 0 ? 0 : ends[g - 1]; };
  const auto suppress_groups = [&, &members = members, &ends = ends](std::int64_t first, std::int64_t last) {
    std::int64_t largest = 0;
    for (std::int64_t g = first; g < last; ++g) largest = std::max(largest, ends[g] - begin_of(g));
    const Scratch<std::byte> memory(nms_memory_bytes<A>(largest));
    for (std::int64_t g = first; g < last; ++g) {
      const std::uint32_t* group = members.data() + begin_of(g);
      const Ranks kept = suppress({rows, group, ends[g] - begin_of(g), threshold, max_output, memory.data()});
      for (std::int64_t i = 0; i < kept.count; ++i) is_kept[group[kept.data[i]]] = 1;
    }
  };
  parallel_for_dynamic(static_cast<std::int64_t>(ends.size()), 16, suppress_groups);
  // Written without a branch, which no predictor could foresee: hence room for one more.
  const std::int64_t total = std::count(is_kept.data(), is_kept.data() + n, std::uint8_t{1});
  std::vector<std::int64_t> keep(static_cast<std::size_t>(total) + 1);
  for (std::int64_t i = 0, k = 0; i < n; k += is_kept[order[i++]]) keep[k] = order[i];
  keep.resize(static_cast<std::size_t>(std::min(total, max_output)));
  return keep;
}

}  // namespace

std::vector<std::int64_t> nms(const TensorView& boxes, const TensorView& scores, double iou_threshold,
                              std::optional<std::int64_t> max_output) {
  check_nms("nms", boxes, scores, iou_threshold, max_output);
  const std::int64_t limit = max_output.value_or(boxes.size(0));
  if (boxes.size(0) == 0 || limit == 0) return {};
  return dispatch_floating(boxes.dtype, [&](auto tag) {
    return nms_typed<typename decltype(tag)::type>(boxes, scores, iou_threshold, limit);
  });
}

std::vector<std::int64_t> batched_nms(const TensorView& boxes, const TensorView& scores, const TensorView& idxs,
                                      double iou_threshold, std::optional<std::int64_t> max_output) {
  check_batched_nms(boxes, scores, idxs, iou_threshold, max_output);
  const std::int64_t limit = max_output.value_or(boxes.size(0));
  if (boxes.size(0) == 0 || limit == 0) return {};
  return dispatch_floating(boxes.dtype, [&](auto tag) {
    return batched_nms_typed<typename decltype(tag)::type>(boxes, scores, idxs, iou_threshold, limit);
  });
}

std::int64_t nms_padded(const TensorView& boxes, const TensorView& scores, const std::optional<TensorView>& idxs,
                        double iou_threshold, const TensorView& keep) {
  const std::int64_t max_output = keep.size(0);
  check_nms_padded(boxes, scores, idxs, iou_threshold, max_output);
  const std::vector<std::int64_t> kept = idxs ? batched_nms(boxes, scores, *idxs, iou_threshold, max_output)
                                              : nms(boxes, scores, iou_threshold, max_output);
  std::int64_t* out = keep.ptr<std::int64_t>();
  std::fill(std::copy(kept.begin(), kept.end(), out), out + max_output, std::int64_t{-1});
  return static_cast<std::int64_t>(kept.size());
}

}  // namespace saccade
