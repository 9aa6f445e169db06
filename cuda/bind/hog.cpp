#include "cuda/kernels/hog.h"

#include "cuda/common/torch.h"

namespace saccade::cuda {
namespace {

Tensor hog(const Tensor& images, std::int64_t orientations, std::int64_t cell_rows, std::int64_t cell_columns,
           std::int64_t block_rows, std::int64_t block_columns, std::int64_t block_norm) {
  const HogCells cells = {orientations, {cell_rows, cell_columns}, {block_rows, block_columns}};
  const auto norm = static_cast<HogNorm>(block_norm);
  const TensorView shape = view(images);
  check_hog(shape, 4, cells, norm);
  const DeviceOf device(images);
  const Tensor input = torch::stable::contiguous(images);
  const ScalarType type = shape.dtype == DType::kFloat32 ? ScalarType::Float : ScalarType::Double;
  const Tensor blocks = empty(hog_shape(shape, cells), images, type);
  const Tensor edges = scratch<double>(hog_edge_count(cells), images);
  const Tensor histogram = scratch<double>(hog_histogram_count(shape, cells), images);
  launch_hog(view(input), cells, norm, view(edges).ptr<double>(), view(histogram).ptr<double>(), view(blocks),
             device.stream());
  return blocks;
}

}  // namespace

SACCADE_TORCH_CUDA(m) { m.impl("hog", SACCADE_BOX(hog)); }

}  // namespace saccade::cuda
