#include "ops/best_above.h"

#include <algorithm>

#include "bind_torch/tensor.h"

namespace saccade::bind_torch {
namespace {

std::tuple<Tensor, Tensor, Tensor> best_above(std::vector<Tensor> sections, double threshold, std::int64_t most) {
  check_best_above(views(sections), most);
  for (Tensor& section : sections) section = torch::stable::contiguous(section);
  const BestAbove best = saccade::best_above(views(sections), threshold, most);
  Tensor value = empty({static_cast<std::int64_t>(best.value.size())}, sections[0]);
  if (view(value).dtype == DType::kFloat64) {
    std::copy(best.value.begin(), best.value.end(), view(value).ptr<double>());
  } else {
    std::transform(best.value.begin(), best.value.end(), view(value).ptr<float>(),
                   [](double one) { return static_cast<float>(one); });
  }
  return {value, from_vector(best.row), from_vector(best.column)};
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def("_best_above(Tensor[] sections, float threshold, int most) -> (Tensor value, Tensor row, Tensor column)");
}

SACCADE_TORCH_CPU(m) { m.impl("_best_above", SACCADE_BOX(best_above)); }

}  // namespace saccade::bind_torch
