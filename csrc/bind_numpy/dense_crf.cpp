#include "ops/dense_crf.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "bind_numpy/array.h"
#include "common/parallel.h"
#include "common/scratch.h"

namespace saccade::bind_numpy {
namespace {

// Contiguous memory of a shape, and its view.
class Block {
 public:
  Block(DType dtype, std::initializer_list<std::int64_t> sizes) : memory_(bytes_of(dtype, sizes)) {
    view_.data = memory_.data();
    view_.dtype = dtype;
    std::int64_t stride = 1;
    for (std::int64_t size : sizes) view_.sizes[view_.ndim++] = size;
    for (int d = view_.ndim - 1; d >= 0; --d) view_.strides[d] = stride, stride *= view_.sizes[d];
  }
  const TensorView& view() const { return view_; }

 private:
  static std::size_t bytes_of(DType dtype, std::initializer_list<std::int64_t> sizes) {
    std::int64_t count = 1;
    for (std::int64_t size : sizes) count *= size;
    return static_cast<std::size_t>(count) * dtype_size(dtype);
  }
  Scratch<std::byte> memory_;
  TensorView view_;
};

// What divides the filtered values: saccade.ops.dense_crf has the same names.
struct Normalization {
  bool before, after;
};

Normalization normalization_of(const std::string& name) {
  require(name == "none" || name == "before" || name == "after" || name == "symmetric",
          "dense_crf: normalization must be 'none', 'before', 'after' or 'symmetric', got '", name, "'");
  const bool both = name == "symmetric";
  return {both || name == "before", both || name == "after"};
}

// A lattice with the memory that it lies in. Built and used without Python.
class Term {
 public:
  Term(const TensorView& features, Normalization normalization)
      : vertices_(DType::kInt32, {count_of(features), features.sizes[2] + 1}),
        weights_(features.dtype, {count_of(features), features.sizes[2] + 1}),
        builder_(features, vertices_.view(), weights_.view()),
        points_(DType::kInt32, {vertices_.view().numel()}),
        point_weights_(features.dtype, {vertices_.view().numel()}),
        segments_(DType::kInt32, {builder_.segment_count() + 1}),
        parts_(DType::kInt32, {builder_.segment_count()}),
        starts_(DType::kInt32, {builder_.vertex_count() + 1}),
        neighbours_(DType::kInt32, {features.sizes[2] + 1, builder_.vertex_count(), 2}),
        factor_(features.dtype, {count_of(features)}) {
    scaled_.lattice = {vertices_.view(), weights_.view(), points_.view(), point_weights_.view(),
                       segments_.view(), parts_.view(),   starts_.view(), neighbours_.view()};
    builder_.finish(scaled_.lattice);
    if (!normalization.before && !normalization.after) return;
    if (features.dtype == DType::kFloat32)
      fill_factor<float>(normalization);
    else
      fill_factor<double>(normalization);
    if (normalization.before) scaled_.before = factor_.view();
    if (normalization.after) scaled_.after = factor_.view();
  }
  const MeanFieldLattice& scaled() const { return scaled_; }

 private:
  static std::int64_t count_of(const TensorView& features) { return features.sizes[0] * features.sizes[1]; }

  template <class T>
  void fill_factor(Normalization normalization) {
    const std::int64_t count = factor_.view().numel();
    const Block ones(factor_.view().dtype, {count, 1}), total(factor_.view().dtype, {count, 1});
    std::fill_n(ones.view().ptr<T>(), count, T(1));
    permutohedral_filter(ones.view(), scaled_.lattice, false, total.view());
    const bool root = normalization.before && normalization.after;
    parallel_for(count, 16384, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t p = begin; p < end; ++p) {
        const T sum = total.view().ptr<T>()[p] + T(1e-20);
        factor_.view().ptr<T>()[p] = 1 / (root ? std::sqrt(sum) : sum);
      }
    });
  }

  Block vertices_, weights_;
  LatticeBuilder builder_;
  Block points_, point_weights_, segments_, parts_, starts_, neighbours_, factor_;
  MeanFieldLattice scaled_;
};

// unary (b, L, points), features (b, points, d) and compatibility (L,) or (L, L) of each term, all of one dtype and
// contiguous: the probabilities, like unary.
py::array dense_crf(const py::object& unary, const std::vector<py::object>& features,
                    const std::vector<py::object>& compatibility, std::int64_t iterations,
                    const std::string& normalization) {
  const Normalization factors = normalization_of(normalization);
  const Input costs(unary);
  const std::vector<Input> points(features.begin(), features.end()),
      matrices(compatibility.begin(), compatibility.end());
  for (const Input& input : points) {
    check_permutohedral_lattice(input.view());
    require(input.view().is_contiguous(), "dense_crf: features must be C-contiguous");
  }
  check_mean_field(costs.view(), {}, {}, iterations);
  require(costs.view().is_contiguous(), "dense_crf: unary must be C-contiguous");
  py::array out = empty({costs.view().sizes[0], costs.view().sizes[1], costs.view().sizes[2]}, costs.view().dtype);
  const TensorView result = output_view(out);
  {
    py::gil_scoped_release release;
    std::vector<std::unique_ptr<Term>> terms;
    std::vector<MeanFieldLattice> lattices;
    std::vector<TensorView> acting;
    for (const Input& input : points) {
      terms.push_back(std::make_unique<Term>(input.view(), factors));
      lattices.push_back(terms.back()->scaled());
    }
    for (const Input& input : matrices) acting.push_back(input.view());
    mean_field(costs.view(), -1.0, lattices, acting, iterations, true, result);
  }
  return out;
}

}  // namespace

SACCADE_NUMPY(m) {
  m.def("dense_crf", &dense_crf, py::arg("unary"), py::arg("features"), py::arg("compatibility"), py::arg("iterations"),
        py::arg("normalization"));
}

}  // namespace saccade::bind_numpy
