#include "ops/nms_rotated.h"

#include "common/dispatch.h"
#include "common/scratch.h"
#include "kernels/nms_rotated.h"
#include "ops/checks.h"
#include "ops/rotated_boxes.h"
#include "ops/suppression.h"

namespace saccade {
namespace {

std::int64_t suppress(const RotatedBoxes<float>& boxes, float threshold, std::int64_t max_output, std::uint32_t* kept) {
  return nms_rotated_kernels().suppress_float(boxes, threshold, max_output, kept);
}
std::int64_t suppress(const RotatedBoxes<double>& boxes, double threshold, std::int64_t max_output,
                      std::uint32_t* kept) {
  return nms_rotated_kernels().suppress_double(boxes, threshold, max_output, kept);
}

}  // namespace

void check_nms_rotated(const TensorView& boxes, const TensorView& scores, double iou_threshold,
                       std::optional<std::int64_t> max_output) {
  require_shape("nms_rotated", "boxes", boxes, "(N, 5)", {-1, 5});
  check_suppression("nms_rotated", boxes, scores, iou_threshold, max_output);
}

std::vector<std::int64_t> nms_rotated(const TensorView& boxes, const TensorView& scores, double iou_threshold,
                                      std::optional<std::int64_t> max_output) {
  check_nms_rotated(boxes, scores, iou_threshold, max_output);
  const std::int64_t limit = max_output.value_or(boxes.size(0));
  if (boxes.size(0) == 0 || limit == 0) return {};
  const Scratch<std::uint32_t> order = score_order(scores), kept(order.size());
  const std::int64_t count = dispatch_floating(boxes.dtype, [&](auto tag) {
    const auto prepared = prepare_rotated_boxes<typename decltype(tag)::type>(boxes, order.data());
    using A = std::remove_pointer_t<decltype(prepared.boxes.cx)>;
    return suppress(prepared.boxes, largest_not_above<A>(iou_threshold), limit, kept.data());
  });
  std::vector<std::int64_t> keep(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) keep[i] = order[kept[i]];
  return keep;
}

}  // namespace saccade
