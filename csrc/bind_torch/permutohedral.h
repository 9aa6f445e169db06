// A lattice as six torch tensors.
#pragma once

#include "bind_torch/tensor.h"
#include "ops/permutohedral.h"

namespace saccade::bind_torch {

using LatticeTensors = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;
constexpr std::size_t kLatticeTensors = 6;

// The six tensors from `first` on, which the caller made contiguous.
inline LatticeViews lattice_views(const Tensor* first) {
  return {view(first[0]), view(first[1]), view(first[2]), view(first[3]), view(first[4]), view(first[5])};
}

// Builds a lattice of features on the CPU.
inline LatticeTensors build_lattice(const Tensor& features) {
  check_permutohedral_lattice(view(features));
  const Tensor dense = torch::stable::contiguous(features);
  const std::int64_t count = features.size(0) * features.size(1), corners = features.size(2) + 1;
  Tensor vertices = empty({count, corners}, features, ScalarType::Int), weights = empty({count, corners}, features);
  LatticeBuilder builder(view(dense), view(vertices), view(weights));
  Tensor points = empty({count * corners}, features, ScalarType::Int), point_weights = empty({count * corners}, features);
  Tensor starts = empty({builder.vertex_count() + 1}, features, ScalarType::Int);
  Tensor neighbours = empty({corners, builder.vertex_count(), 2}, features, ScalarType::Int);
  builder.finish(
      {view(vertices), view(weights), view(points), view(point_weights), view(starts), view(neighbours)});
  return {vertices, weights, points, point_weights, starts, neighbours};
}

}  // namespace saccade::bind_torch
