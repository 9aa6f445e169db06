// A lattice as eight torch tensors.
#pragma once

#include "bind_torch/tensor.h"
#include "ops/permutohedral.h"

namespace saccade::bind_torch {

using LatticeTensors = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;
constexpr std::size_t kLatticeTensors = 8;

// The eight tensors from `first` on, which the caller made contiguous.
inline LatticeViews lattice_views(const Tensor* first) {
  return {view(first[0]), view(first[1]), view(first[2]), view(first[3]),
          view(first[4]), view(first[5]), view(first[6]), view(first[7])};
}

// Builds a lattice of features on the CPU.
inline LatticeTensors build_lattice(const Tensor& features) {
  check_permutohedral_lattice(view(features));
  const Tensor dense = torch::stable::contiguous(features);
  const std::int64_t count = features.size(0) * features.size(1), corners = features.size(2) + 1;
  Tensor vertices = empty({count, corners}, features, ScalarType::Int), weights = empty({count, corners}, features);
  LatticeBuilder builder(view(dense), view(vertices), view(weights));
  Tensor points = empty({count * corners}, features, ScalarType::Int),
         point_weights = empty({count * corners}, features);
  Tensor segments = empty({builder.segment_count() + 1}, features, ScalarType::Int);
  Tensor parts = empty({builder.segment_count()}, features, ScalarType::Int);
  Tensor starts = empty({builder.vertex_count() + 1}, features, ScalarType::Int);
  Tensor neighbours = empty({corners, builder.vertex_count(), 2}, features, ScalarType::Int);
  const LatticeTensors all = {vertices, weights, points, point_weights, segments, parts, starts, neighbours};
  builder.finish(std::apply([](const auto&... tensor) { return LatticeViews{view(tensor)...}; }, all));
  return all;
}

}  // namespace saccade::bind_torch
