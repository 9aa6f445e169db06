#include "cuda/kernels/masks_to_boxes.h"

#include "cuda/common/torch.h"
#include "ops/masks_to_boxes.h"

namespace saccade::cuda {
namespace {

Tensor masks_to_boxes(const Tensor& masks) {
  check_masks_to_boxes(view(masks));
  const DeviceOf device(masks);
  const Tensor rows_dense = masks.size(2) > 1 && masks.stride(2) != 1 ? torch::stable::contiguous(masks) : masks;
  const Tensor boxes = empty({masks.size(0), 4}, masks, ScalarType::Float);
  const Tensor extents = scratch<unsigned long long>(4 * masks.size(0), masks);
  launch_masks_to_boxes(view(rows_dense), view(extents).ptr<unsigned long long>(), view(boxes), device.stream());
  return boxes;
}

}  // namespace

SACCADE_TORCH_CUDA(m) { m.impl("masks_to_boxes", SACCADE_BOX(masks_to_boxes)); }

}  // namespace saccade::cuda
