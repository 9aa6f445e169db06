#include "ops/dense_crf.h"

#include "bind_torch/permutohedral.h"

namespace saccade::bind_torch {
namespace {

Tensor mean_field(const Tensor& logits, std::vector<Tensor> lattices, std::vector<Tensor> compatibility,
                  std::int64_t iterations, bool normalize) {
  require(lattices.size() % kLatticeTensors == 0, "dense_crf: lattices must be six tensors each, got ",
          lattices.size());
  for (Tensor& tensor : lattices) tensor = torch::stable::contiguous(tensor);
  std::vector<LatticeViews> seen;
  for (std::size_t i = 0; i < lattices.size(); i += kLatticeTensors) seen.push_back(lattice_views(&lattices[i]));
  check_mean_field(view(logits), seen, views(compatibility), iterations);
  const Tensor planes = torch::stable::contiguous(logits);
  Tensor out = empty({logits.size(0), logits.size(1), logits.size(2)}, logits);
  saccade::mean_field(view(planes), seen, views(compatibility), iterations, normalize, view(out));
  return out;
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "_mean_field(Tensor logits, Tensor[] lattices, Tensor[] compatibility, int iterations, bool normalize) "
      "-> Tensor");
}

SACCADE_TORCH_CPU(m) { m.impl("_mean_field", SACCADE_BOX(mean_field)); }

}  // namespace saccade::bind_torch
