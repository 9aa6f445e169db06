#include "ops/permutohedral.h"

#include <algorithm>
#include <utility>

#include "common/parallel.h"
#include "common/scratch.h"
#include "ops/checks.h"

namespace saccade {

void check_lattice(const char* op, const LatticeViews& lattice) {
  const TensorView& vertices = lattice.vertices;
  require_shape(op, "vertices", vertices, "(N, d + 1)", {-1, -1});
  const std::int64_t corners = vertices.sizes[1], entries = vertices.numel();
  require(corners >= 2 && corners <= kMaxLatticeDims + 1, op, ": vertices must have 2 to 9 columns, got ", corners);
  require_shape(op, "weights", lattice.weights, "(N, d + 1)", {vertices.sizes[0], corners});
  require_shape(op, "points", lattice.points, "(N * (d + 1),)", {entries});
  require_shape(op, "point_weights", lattice.point_weights, "(N * (d + 1),)", {entries});
  require_shape(op, "parts", lattice.parts, "(S,)", {-1});
  require_shape(op, "segments", lattice.segments, "(S + 1,)", {lattice.segment_count() + 1});
  require_shape(op, "starts", lattice.starts, "(M + 1,)", {-1});
  require(lattice.starts.sizes[0] >= 1, op, ": starts must have shape (M + 1,), got (0,)");
  require_shape(op, "neighbours", lattice.neighbours, "(d + 1, M, 2)", {corners, lattice.vertex_count(), 2});
  require_type(lattice.weights.dtype == DType::kFloat32 || lattice.weights.dtype == DType::kFloat64, op,
               ": weights must be float32 or float64, got ", dtype_name(lattice.weights.dtype));
  require_same_dtype(op, "weights", lattice.weights, "point_weights", lattice.point_weights);
  for (const auto& [name, view] : {std::pair("vertices", &vertices), std::pair("points", &lattice.points),
                                   std::pair("segments", &lattice.segments), std::pair("parts", &lattice.parts),
                                   std::pair("starts", &lattice.starts), std::pair("neighbours", &lattice.neighbours)})
    require_dtype(op, name, *view, DType::kInt32);
  for (const auto& [name, view] : {std::pair("weights", &lattice.weights), std::pair("points", &lattice.points),
                                   std::pair("point_weights", &lattice.point_weights),
                                   std::pair("segments", &lattice.segments), std::pair("parts", &lattice.parts),
                                   std::pair("starts", &lattice.starts), std::pair("neighbours", &lattice.neighbours)})
    require_same_device(op, "vertices", vertices, name, *view);
}

void check_permutohedral_filter(const TensorView& values, const LatticeViews& lattice) {
  constexpr const char* op = "permutohedral_filter";
  check_lattice(op, lattice);
  require_shape(op, "values", values, "(N, C)", {lattice.count(), -1});
  require_same_dtype(op, "features", lattice.weights, "values", values);
  require_same_device(op, "features", lattice.weights, "values", values);
}

template <class T>
T* join_and_blur(const LatticeViews& lattice, const T* received, std::int64_t stride, bool reverse, T* table,
                 T* spare) {
  const auto& kernels = permutohedral_kernels<T>();
  const std::int64_t count = lattice.vertex_count(), grain = std::max<std::int64_t>(1, 16384 / stride);
  std::fill_n(table + count * stride, stride, T(0));  // the row of neighbours that are not there
  std::fill_n(spare + count * stride, stride, T(0));
  parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
    kernels.join(begin, end, lattice.starts.ptr<std::int32_t>(), lattice.parts.ptr<std::int32_t>(), received, stride,
                 table);
  });
  for (int a = 0; a < lattice.corners(); ++a) {
    const int axis = reverse ? lattice.corners() - 1 - a : a;
    const auto* neighbours = lattice.neighbours.ptr<std::int32_t>() + axis * count * 2;
    parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
      kernels.blur(begin, end, neighbours, table, stride, spare);
    });
    std::swap(table, spare);
  }
  return table;
}

template float* join_and_blur<float>(const LatticeViews&, const float*, std::int64_t, bool, float*, float*);
template double* join_and_blur<double>(const LatticeViews&, const double*, std::int64_t, bool, double*, double*);

namespace {

template <class T>
void filter(const TensorView& values, const LatticeViews& lattice, bool reverse, const TensorView& out) {
  const std::int64_t count = lattice.count(), channels = values.sizes[1], stride = lattice_stride<T>(channels);
  if (count == 0 || channels == 0) return;
  const Scratch<T> padded(stride == channels ? 0 : static_cast<std::size_t>(count * stride));
  const T* rows = values.ptr<T>();
  if (stride != channels) {
    parallel_for(count, std::max<std::int64_t>(1, 16384 / stride), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t p = begin; p < end; ++p) {
        T* row = std::copy_n(rows + p * channels, channels, padded.data() + p * stride);
        std::fill_n(row, stride - channels, T(0));
      }
    });
    rows = padded.data();
  }
  const auto size = static_cast<std::size_t>((lattice.vertex_count() + 1) * stride);
  const Scratch<T> received(static_cast<std::size_t>(lattice.segment_count() * stride)), table(size), spare(size);
  const auto& kernels = permutohedral_kernels<T>();
  parallel_for_dynamic(lattice.segment_count(), 1024, [&](std::int64_t begin, std::int64_t end) {
    kernels.splat(begin, end, lattice.segments.ptr<std::int32_t>(), lattice.points.ptr<std::int32_t>(),
                  lattice.point_weights.ptr<T>(), rows, 0, stride, received.data());
  });
  const T* blurred = join_and_blur(lattice, received.data(), stride, reverse, table.data(), spare.data());
  parallel_for(count, std::max<std::int64_t>(1, 16384 / stride), [&](std::int64_t begin, std::int64_t end) {
    kernels.slice(begin, end, lattice.corners(), lattice.vertices.ptr<std::int32_t>(), lattice.weights.ptr<T>(),
                  blurred, stride, static_cast<T>(lattice_scale(lattice.corners())), out.ptr<T>(), channels);
  });
}

}  // namespace

void permutohedral_filter(const TensorView& values, const LatticeViews& lattice, bool reverse, const TensorView& out) {
  check_permutohedral_filter(values, lattice);
  if (values.dtype == DType::kFloat32)
    filter<float>(values, lattice, reverse, out);
  else
    filter<double>(values, lattice, reverse, out);
}

}  // namespace saccade
