#include "bind_torch/dense_crf.h"

namespace saccade::bind_torch {
namespace {

Tensor mean_field(const Tensor& unary, double sign, std::vector<Tensor> lattices, std::vector<Tensor> compatibility,
                  std::int64_t iterations, bool normalize) {
  const std::vector<MeanFieldLattice> seen = mean_field_lattices(lattices);
  check_mean_field(view(unary), seen, views(compatibility), iterations);
  const Tensor planes = torch::stable::contiguous(unary);
  Tensor out = empty({unary.size(0), unary.size(1), unary.size(2)}, unary);
  saccade::mean_field(view(planes), sign, seen, views(compatibility), iterations, normalize, view(out));
  return out;
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "_mean_field(Tensor unary, float sign, Tensor[] lattices, Tensor[] compatibility, int iterations, "
      "bool normalize) "
      "-> Tensor");
}

SACCADE_TORCH_CPU(m) { m.impl("_mean_field", SACCADE_BOX(mean_field)); }

}  // namespace saccade::bind_torch
