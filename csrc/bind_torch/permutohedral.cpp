#include "bind_torch/permutohedral.h"

namespace saccade::bind_torch {
namespace {

Tensor permutohedral_filter(const Tensor& values, const Tensor& vertices, const Tensor& weights, const Tensor& points,
                            const Tensor& point_weights, const Tensor& segments, const Tensor& parts,
                            const Tensor& starts, const Tensor& neighbours, bool reverse) {
  std::vector<Tensor> tensors = {vertices, weights, points, point_weights, segments, parts, starts, neighbours};
  for (Tensor& tensor : tensors) tensor = torch::stable::contiguous(tensor);
  const LatticeViews lattice = lattice_views(tensors.data());
  check_permutohedral_filter(view(values), lattice);
  const Tensor rows = torch::stable::contiguous(values);
  Tensor out = empty({values.size(0), values.size(1)}, values);
  saccade::permutohedral_filter(view(rows), lattice, reverse, view(out));
  return out;
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "_permutohedral_lattice(Tensor features) -> (Tensor vertices, Tensor weights, Tensor points, "
      "Tensor point_weights, Tensor segments, Tensor parts, Tensor starts, Tensor neighbours)");
  m.def(
      "_permutohedral_filter(Tensor values, Tensor vertices, Tensor weights, Tensor points, Tensor point_weights, "
      "Tensor segments, Tensor parts, Tensor starts, Tensor neighbours, bool reverse) -> Tensor");
}

SACCADE_TORCH_CPU(m) {
  m.impl("_permutohedral_lattice", SACCADE_BOX(build_lattice));
  m.impl("_permutohedral_filter", SACCADE_BOX(permutohedral_filter));
}

}  // namespace saccade::bind_torch
