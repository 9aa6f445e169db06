// The lattices of a mean field as a list of torch tensors.
#pragma once

#include "bind_torch/permutohedral.h"
#include "ops/dense_crf.h"

namespace saccade::bind_torch {

// Ten tensors each: a lattice's eight, and the factors before and after, without elements for ones. Makes them
// contiguous.
inline std::vector<MeanFieldLattice> mean_field_lattices(std::vector<Tensor>& tensors) {
  constexpr std::size_t kEach = kLatticeTensors + 2;
  require(tensors.size() % kEach == 0, "dense_crf: lattices must be ten tensors each, got ", tensors.size());
  for (Tensor& tensor : tensors) tensor = torch::stable::contiguous(tensor);
  std::vector<MeanFieldLattice> result;
  for (const Tensor* first = tensors.data(); first != tensors.data() + tensors.size(); first += kEach) {
    const auto factor = [&](std::size_t i) {
      const TensorView seen = view(first[kLatticeTensors + i]);
      return seen.numel() > 0 ? std::optional(seen) : std::nullopt;
    };
    result.push_back({lattice_views(first), factor(0), factor(1)});
  }
  return result;
}

}  // namespace saccade::bind_torch
