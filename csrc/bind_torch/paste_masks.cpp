#include "ops/paste_masks.h"

#include "bind_torch/tensor.h"

namespace saccade::bind_torch {
namespace {

Tensor paste_masks(const Tensor& masks, const Tensor& corners, std::int64_t height, std::int64_t width) {
  check_paste_masks(view(masks), view(corners), height, width);
  const Tensor dense = torch::stable::contiguous(masks), dense_corners = torch::stable::contiguous(corners);
  Tensor out = empty({masks.size(0), height, width}, masks);
  saccade::paste_masks(view(dense), view(dense_corners), view(out));
  return out;
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) { m.def("paste_masks(Tensor masks, Tensor corners, int height, int width) -> Tensor"); }

SACCADE_TORCH_CPU(m) { m.impl("paste_masks", SACCADE_BOX(paste_masks)); }

}  // namespace saccade::bind_torch
