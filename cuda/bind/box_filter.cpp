#include "cuda/kernels/box_filter.h"

#include "cuda/common/torch.h"
#include "ops/box_filter.h"

namespace saccade::cuda {
namespace {

Tensor box_filter(const Tensor& image, std::int64_t rows, std::int64_t columns) {
  const TensorView shape = view(image);
  check_box_filter("box_filter", shape, rows, columns);
  const DeviceOf device(image);
  const Tensor input = torch::stable::contiguous(image);
  const Tensor out = empty({shape.sizes, shape.sizes + shape.ndim}, image);
  const std::int64_t bytes = box_filter_scratch_bytes(shape);
  const Tensor sums = scratch<char>(bytes, image);
  const Tensor suffixes = scratch<char>(box_filter_needs_suffixes(columns) ? bytes : 0, image);
  launch_box_filter(view(input), rows, columns, view(sums).data, view(suffixes).data, view(out), device.stream());
  return out;
}

}  // namespace

SACCADE_TORCH_CUDA(m) { m.impl("box_filter", SACCADE_BOX(box_filter)); }

}  // namespace saccade::cuda
