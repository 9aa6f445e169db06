#include "cuda/kernels/nms.h"

#include <algorithm>

#include "common/dispatch.h"
#include "cuda/bind/suppression.h"
#include "cuda/common/torch.h"
#include "math/half.h"
#include "ops/nms.h"
#include "ops/suppression.h"

namespace saccade::cuda {
namespace {

using bind_torch::optional_view;

// Writes the numbers of the boxes kept into `keep` (at most its length of them); returns a tensor whose first int64 is
// how many.
Tensor suppress(const Tensor& boxes, const Tensor& scores, const Tensor* idxs, double iou_threshold, const Tensor& keep,
                cudaStream_t stream) {
  const std::int64_t count = boxes.size(0), tiles = (count + kNmsTile - 1) / kNmsTile;
  const Tensor order = score_order(scores, stream);
  Tensor totals = empty({tiles + 1}, boxes, ScalarType::Long);
  const Tensor removed = scratch<unsigned char>(count, boxes);
  const auto* numbers = view(order).ptr<std::int64_t>();
  dispatch_floating(view(boxes).dtype, [&](auto tag) {
    using A = decltype(to_float(typename decltype(tag)::type{}));
    const Tensor memory = scratch<Pack<A, 4>>(count, boxes);
    const NmsBoxes<A> sorted = {count, view(memory).template ptr<Pack<A, 4>>(),
                                view(removed).template ptr<unsigned char>(), numbers};
    launch_nms_gather<A>(view(boxes), sorted, stream);
    const auto run = [&](const auto* labels) {
      launch_nms(sorted, labels, largest_not_above<A>(iou_threshold), keep.size(0),
                 view(keep).template ptr<std::int64_t>(), view(totals).template ptr<std::int64_t>(), stream);
    };
    const auto run_labelled = [&](auto zero) {
      const Tensor labels = scratch<decltype(zero)>(count, boxes);
      auto* values = view(labels).template ptr<decltype(zero)>();
      launch_nms_labels(view(*idxs), numbers, values, stream);
      run(values);
    };
    if (idxs == nullptr) {
      run(static_cast<const NoLabel*>(nullptr));
    } else if (is_floating(view(*idxs).dtype)) {
      run_labelled(double{});
    } else {
      run_labelled(std::int64_t{});
    }
  });
  return torch::stable::narrow(totals, 0, tiles, 1);
}

Tensor kept_boxes(const Tensor& boxes, const Tensor& scores, const Tensor* idxs, double iou_threshold,
                  std::optional<std::int64_t> max_output) {
  const DeviceOf device(boxes);
  const std::int64_t most = std::min(max_output.value_or(boxes.size(0)), boxes.size(0));
  Tensor keep = empty({most}, boxes, ScalarType::Long);
  if (most == 0) return keep;
  const Tensor total = suppress(boxes, scores, idxs, iou_threshold, keep, device.stream());
  return torch::stable::narrow(keep, 0, 0, read_value(view(total).ptr<std::int64_t>(), device.stream()));
}

Tensor nms(const Tensor& boxes, const Tensor& scores, double iou_threshold, std::optional<std::int64_t> max_output) {
  check_nms("nms", view(boxes), view(scores), iou_threshold, max_output);
  return kept_boxes(boxes, scores, nullptr, iou_threshold, max_output);
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const Tensor& idxs, double iou_threshold,
                   std::optional<std::int64_t> max_output) {
  check_batched_nms(view(boxes), view(scores), view(idxs), iou_threshold, max_output);
  return kept_boxes(boxes, scores, &idxs, iou_threshold, max_output);
}

// The host does not wait for the device.
std::tuple<Tensor, Tensor> nms_padded(const Tensor& boxes, const Tensor& scores, double iou_threshold,
                                      std::int64_t max_output, const std::optional<Tensor>& idxs) {
  check_nms_padded(view(boxes), view(scores), optional_view(idxs), iou_threshold, max_output);
  const DeviceOf device(boxes);
  Tensor keep = empty({max_output}, boxes, ScalarType::Long), count = empty({}, boxes, ScalarType::Long);
  constexpr std::size_t kNumber = sizeof(std::int64_t);
  check(cudaMemsetAsync(keep.data_ptr(), 0xff, max_output * kNumber, device.stream()), "filling of CUDA memory");  // -1
  if (boxes.size(0) == 0 || max_output == 0) {
    check(cudaMemsetAsync(count.data_ptr(), 0, kNumber, device.stream()), "clearing of CUDA memory");
    return {keep, count};
  }
  const Tensor total = suppress(boxes, scores, idxs ? &*idxs : nullptr, iou_threshold, keep, device.stream());
  check(cudaMemcpyAsync(count.data_ptr(), total.data_ptr(), kNumber, cudaMemcpyDeviceToDevice, device.stream()),
        "copy on the device");
  return {keep, count};
}

}  // namespace

SACCADE_TORCH_CUDA(m) {
  m.impl("nms", SACCADE_BOX(nms));
  m.impl("batched_nms", SACCADE_BOX(batched_nms));
  m.impl("nms_padded", SACCADE_BOX(nms_padded));
}

}  // namespace saccade::cuda
