#include "ops/hog.h"

#include "bind_torch/tensor.h"

namespace saccade::bind_torch {
namespace {

Tensor hog(const Tensor& images, std::int64_t orientations, std::int64_t cell_rows, std::int64_t cell_columns,
           std::int64_t block_rows, std::int64_t block_columns, std::int64_t block_norm) {
  const HogCells cells = {orientations, {cell_rows, cell_columns}, {block_rows, block_columns}};
  const auto norm = static_cast<HogNorm>(block_norm);
  check_hog(view(images), 4, cells, norm);
  const Tensor input = torch::stable::contiguous(images);
  const ScalarType type = view(images).dtype == DType::kFloat32 ? ScalarType::Float : ScalarType::Double;
  Tensor blocks = empty(hog_shape(view(images), cells), images, type);
  saccade::hog(view(input), cells, norm, view(blocks));
  return blocks;
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "hog(Tensor images, int orientations, int cell_rows, int cell_columns, int block_rows, int block_columns, "
      "int block_norm) -> Tensor");
}

SACCADE_TORCH_CPU(m) { m.impl("hog", SACCADE_BOX(hog)); }

}  // namespace saccade::bind_torch
