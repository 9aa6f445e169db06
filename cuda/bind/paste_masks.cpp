#include "cuda/kernels/paste_masks.h"

#include "cuda/common/torch.h"
#include "ops/paste_masks.h"

namespace saccade::cuda {
namespace {

Tensor paste_masks(const Tensor& masks, const Tensor& corners, std::int64_t height, std::int64_t width) {
  check_paste_masks(view(masks), view(corners), height, width);
  const DeviceOf device(masks);
  const Tensor dense = torch::stable::contiguous(masks), dense_corners = torch::stable::contiguous(corners);
  Tensor out = empty({masks.size(0), height, width}, masks);
  if (view(out).numel() > 0) launch_paste_masks(view(dense), view(dense_corners), view(out), device.stream());
  return out;
}

}  // namespace

SACCADE_TORCH_CUDA(m) { m.impl("paste_masks", SACCADE_BOX(paste_masks)); }

}  // namespace saccade::cuda
