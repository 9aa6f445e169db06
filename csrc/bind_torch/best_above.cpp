#include "ops/best_above.h"

#include "bind_torch/tensor.h"

namespace saccade::bind_torch {
namespace {

std::tuple<Tensor, Tensor> best_above(const Tensor& values, std::vector<std::int64_t> sections, double threshold,
                                      std::int64_t most) {
  check_best_above(view(values), sections, most);
  const Tensor dense = torch::stable::contiguous(values);
  const BestAbove best = saccade::best_above(view(dense), sections, threshold, most);
  return {from_vector(best.index), from_vector(best.counts)};
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def("_best_above(Tensor values, SymInt[] sections, float threshold, int most) -> (Tensor index, Tensor counts)");
}

SACCADE_TORCH_CPU(m) { m.impl("_best_above", SACCADE_BOX(best_above)); }

}  // namespace saccade::bind_torch
