#include "ops/nms_rotated.h"

#include <algorithm>

#include "common/dispatch.h"
#include "cuda/bind/suppression.h"
#include "cuda/common/torch.h"
#include "cuda/kernels/nms_rotated.h"
#include "math/half.h"
#include "ops/suppression.h"

namespace saccade::cuda {
namespace {

Tensor nms_rotated(const Tensor& boxes, const Tensor& scores, double iou_threshold,
                   std::optional<std::int64_t> max_output) {
  check_nms_rotated(view(boxes), view(scores), iou_threshold, max_output);
  const DeviceOf device(boxes);
  const std::int64_t count = boxes.size(0), most = std::min(max_output.value_or(count), count);
  Tensor keep = empty({most}, boxes, ScalarType::Long);
  if (most == 0) return keep;
  const std::int64_t tiles = (count + kNmsTile - 1) / kNmsTile;
  const Tensor order = score_order(scores, device.stream());
  const Tensor totals = empty({tiles + 1}, boxes, ScalarType::Long);
  const Tensor removed = scratch<unsigned char>(count, boxes), pairs = scratch<unsigned>(kNmsRotatedPairs, boxes);
  check(cudaMemsetAsync(removed.data_ptr(), 0, count, device.stream()), "clearing of CUDA memory");
  const auto* numbers = view(order).ptr<std::int64_t>();
  auto* kept = view(totals).ptr<std::int64_t>();
  dispatch_floating(view(boxes).dtype, [&](auto tag) {
    using A = decltype(to_float(typename decltype(tag)::type{}));
    const Tensor memory = scratch<AlignedRotatedBox<A>>(count, boxes);
    auto* sorted = view(memory).template ptr<AlignedRotatedBox<A>>();
    launch_rotated_boxes<A>(view(boxes), numbers, sorted, device.stream());
    launch_nms_rotated<A>({count, sorted, view(removed).template ptr<unsigned char>(), numbers},
                          largest_not_above<A>(iou_threshold), most, view(pairs).template ptr<unsigned>(),
                          view(keep).template ptr<std::int64_t>(), kept, device.stream());
  });
  return torch::stable::narrow(keep, 0, 0, read_value(kept + tiles, device.stream()));
}

}  // namespace

SACCADE_TORCH_CUDA(m) { m.impl("nms_rotated", SACCADE_BOX(nms_rotated)); }

}  // namespace saccade::cuda
