#include "ops/box_iou_rotated.h"

#include "common/dispatch.h"
#include "cuda/common/torch.h"
#include "cuda/kernels/box_iou_rotated.h"
#include "math/half.h"

namespace saccade::cuda {
namespace {

Tensor box_iou_rotated(const Tensor& boxes1, const Tensor& boxes2) {
  check_box_iou_rotated(view(boxes1), view(boxes2));
  const DeviceOf device(boxes1);
  const std::int64_t n = boxes1.size(0), m = boxes2.size(0);
  const bool is_double = boxes1.scalar_type() == ScalarType::Double;
  const Tensor iou = empty({n, m}, boxes1, is_double ? ScalarType::Double : ScalarType::Float);
  if (n == 0 || m == 0) return iou;
  dispatch_floating(view(boxes1).dtype, [&](auto tag) {
    using A = decltype(to_float(typename decltype(tag)::type{}));
    using Box = AlignedRotatedBox<A>;
    const Tensor rows = scratch<Box>(n, boxes1), columns = scratch<Box>(m, boxes1);
    Box *first = view(rows).template ptr<Box>(), *second = view(columns).template ptr<Box>();
    launch_rotated_boxes<A>(view(boxes1), nullptr, first, device.stream());
    launch_rotated_boxes<A>(view(boxes2), nullptr, second, device.stream());
    launch_box_iou_rotated<A>(first, n, second, m, view(iou).template ptr<A>(), device.stream());
  });
  return iou;
}

}  // namespace

SACCADE_TORCH_CUDA(m) { m.impl("box_iou_rotated", SACCADE_BOX(box_iou_rotated)); }

}  // namespace saccade::cuda
