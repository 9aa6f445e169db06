#include "cuda/bind/permutohedral.h"

#include "bind_torch/permutohedral.h"

namespace saccade::cuda {
namespace {

using bind_torch::kLatticeTensors;
using bind_torch::LatticeTensors;

// Built on the CPU, once for each image: the features go there, the lattice comes back.
LatticeTensors permutohedral_lattice(const Tensor& features) {
  check_permutohedral_lattice(view(features));
  const DeviceOf device(features);
  const LatticeTensors built =
      bind_torch::build_lattice(torch::stable::to(features, torch::stable::Device(torch::headeronly::DeviceType::CPU)));
  return std::apply(
      [&](const auto&... tensor) { return LatticeTensors{torch::stable::to(tensor, features.device())...}; }, built);
}

Tensor permutohedral_filter(const Tensor& values, const Tensor& vertices, const Tensor& weights, const Tensor& points,
                            const Tensor& point_weights, const Tensor& segments, const Tensor& parts,
                            const Tensor& starts, const Tensor& neighbours, bool reverse) {
  Tensor tensors[kLatticeTensors] = {vertices, weights, points, point_weights, segments, parts, starts, neighbours};
  for (Tensor& tensor : tensors) tensor = torch::stable::contiguous(tensor);
  const LatticeViews lattice = bind_torch::lattice_views(tensors);
  check_permutohedral_filter(view(values), lattice);
  const DeviceOf device(values);
  const Tensor rows = torch::stable::contiguous(values);
  Tensor out = empty({values.size(0), values.size(1)}, values);
  const auto run = [&](auto* result) {
    using T = std::remove_pointer_t<decltype(result)>;
    run_lattice<T>(lattice, values, view(rows).ptr<T>(), nullptr, nullptr, values.size(1), reverse, result,
                   device.stream());
  };
  if (values.scalar_type() == ScalarType::Float)
    run(view(out).ptr<float>());
  else
    run(view(out).ptr<double>());
  return out;
}

}  // namespace

SACCADE_TORCH_CUDA(m) {
  m.impl("_permutohedral_lattice", SACCADE_BOX(permutohedral_lattice));
  m.impl("_permutohedral_filter", SACCADE_BOX(permutohedral_filter));
}

}  // namespace saccade::cuda
