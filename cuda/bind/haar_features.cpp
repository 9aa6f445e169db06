#include "cuda/kernels/haar_features.h"

#include "cuda/common/torch.h"

namespace saccade::cuda {
namespace {

Tensor haar_features(const Tensor& sum, const std::optional<Tensor>& tilted, const Tensor& kinds, const Tensor& offsets,
                     const Tensor& columns, std::int64_t width, std::int64_t height, const Tensor& windows) {
  const HaarTable table{view(kinds), view(offsets), view(columns), width, height};
  const TensorView tilted_view = tilted ? view(*tilted) : TensorView{};
  check_haar_features("haar_features", view(sum), tilted_view, table, view(windows));
  const DeviceOf device(sum);
  const Tensor corners = torch::stable::contiguous(windows);
  const Tensor values = empty({windows.size(0), columns.size(0)}, sum);
  launch_haar_features(view(sum), tilted_view, table, view(corners), view(values), device.stream());
  return values;
}

}  // namespace

SACCADE_TORCH_CUDA(m) { m.impl("haar_features", SACCADE_BOX(haar_features)); }

}  // namespace saccade::cuda
