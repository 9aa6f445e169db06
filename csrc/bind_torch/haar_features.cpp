#include "ops/haar_features.h"

#include "bind_torch/tensor.h"

namespace saccade::bind_torch {
namespace {

Tensor haar_features(const Tensor& sum, const std::optional<Tensor>& tilted, const Tensor& kinds, const Tensor& offsets,
                     const Tensor& columns, std::int64_t width, std::int64_t height, const Tensor& windows) {
  const HaarTable table{view(kinds), view(offsets), view(columns), width, height};
  const TensorView tilted_view = tilted ? view(*tilted) : TensorView{};
  check_haar_features("haar_features", view(sum), tilted_view, table, view(windows));
  check_haar_table("haar_features", tilted_view, table);
  Tensor values = empty({windows.size(0), columns.size(0)}, sum);
  saccade::haar_features("haar_features", view(sum), tilted_view, table, view(windows), view(values));
  return values;
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "haar_features(Tensor sum, Tensor? tilted, Tensor kinds, Tensor offsets, Tensor columns, int width, int height, "
      "Tensor windows) -> Tensor");
}

SACCADE_TORCH_CPU(m) { m.impl("haar_features", SACCADE_BOX(haar_features)); }

}  // namespace saccade::bind_torch
