// Filtering with a lattice on the device, shared by permutohedral_filter and dense_crf.
#pragma once

#include <optional>
#include <utility>

#include "cuda/common/torch.h"
#include "cuda/kernels/permutohedral.h"
#include "ops/permutohedral.h"

namespace saccade::cuda {

// values, out: (N, channels), dense.
template <class T>
void run_lattice(const LatticeViews& lattice, const Tensor& like, const T* values, const T* before, const T* after,
                 std::int64_t channels, bool reverse, T* out, cudaStream_t stream) {
  const std::int64_t segments = lattice.segment_count(), vertices = lattice.vertex_count();
  const Tensor received = scratch<T>(segments * channels, like);
  const Tensor first = scratch<T>(vertices * channels, like), second = scratch<T>(vertices * channels, like);
  T *table = view(first).template ptr<T>(), *spare = view(second).template ptr<T>();
  launch_lattice_sum<T>(segments, channels, lattice.segments.ptr<std::int32_t>(), lattice.points.ptr<std::int32_t>(),
                        lattice.point_weights.ptr<T>(), before, values, view(received).template ptr<T>(), stream);
  launch_lattice_sum<T>(vertices, channels, lattice.starts.ptr<std::int32_t>(), lattice.parts.ptr<std::int32_t>(),
                        nullptr, nullptr, view(received).template ptr<T>(), table, stream);
  for (int a = 0; a < lattice.corners(); ++a, std::swap(table, spare)) {
    const int axis = reverse ? lattice.corners() - 1 - a : a;
    launch_lattice_blur<T>(vertices, channels, lattice.neighbours.ptr<std::int32_t>() + axis * vertices * 2, table,
                           spare, stream);
  }
  launch_lattice_slice<T>(lattice.count(), channels, lattice.corners(), lattice.vertices.ptr<std::int32_t>(),
                          lattice.weights.ptr<T>(), table, static_cast<T>(lattice_scale(lattice.corners())), after, out,
                          stream);
}

}  // namespace saccade::cuda
