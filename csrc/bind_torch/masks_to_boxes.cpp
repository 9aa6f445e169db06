#include "ops/masks_to_boxes.h"

#include "bind_torch/tensor.h"

namespace saccade::bind_torch {
namespace {

Tensor masks_to_boxes(const Tensor& masks) {
  check_masks_to_boxes(view(masks));
  const Tensor rows_dense = masks.size(2) > 1 && masks.stride(2) != 1 ? torch::stable::contiguous(masks) : masks;
  Tensor boxes = empty({masks.size(0), 4}, masks, ScalarType::Float);
  saccade::masks_to_boxes(view(rows_dense), view(boxes));
  return boxes;
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) { m.def("masks_to_boxes(Tensor masks) -> Tensor"); }

SACCADE_TORCH_CPU(m) { m.impl("masks_to_boxes", SACCADE_BOX(masks_to_boxes)); }

}  // namespace saccade::bind_torch
