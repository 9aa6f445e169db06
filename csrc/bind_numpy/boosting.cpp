#include "ops/boosting.h"

#include "bind_numpy/array.h"

namespace saccade::bind_numpy {
namespace {

py::tuple best_split(const SplitFinder& finder, const py::object& weights, bool squares) {
  const Input input(weights);
  Split split;
  {
    py::gil_scoped_release release;
    split = finder.best_split(input.view(), squares ? SplitCriterion::kSquares : SplitCriterion::kError);
  }
  return py::make_tuple(split.worth, split.feature, split.place);
}

py::array_t<bool> left(const SplitFinder& finder, std::int64_t feature, std::int32_t place) {
  py::array_t<bool> out = empty<bool>({finder.samples()});
  finder.left(feature, place, out.mutable_data());
  return out;
}

template <class Make>
auto without_gil(const Make& make) {
  py::gil_scoped_release release;
  return make();
}

std::unique_ptr<HaarBins> haar_bins(const py::object& sums, const py::object& tilted, const py::object& kinds,
                                    const py::object& offsets, const py::object& columns, std::int64_t width,
                                    std::int64_t height, const py::object& scale) {
  const Input sum(sums), kind(kinds), offset(offsets), column(columns), factors(scale);
  std::optional<Input> slanted;
  if (!tilted.is_none()) slanted.emplace(tilted);
  const HaarTable table{kind.view(), offset.view(), column.view(), width, height};
  return without_gil([&] {
    return std::make_unique<HaarBins>(sum.view(), slanted ? slanted->view() : TensorView{}, table, factors.view());
  });
}

}  // namespace

SACCADE_NUMPY(m) {
  py::class_<SplitFinder>(m, "SplitFinder")
      .def_property_readonly("samples", &SplitFinder::samples)
      .def_property_readonly("features", &SplitFinder::features)
      .def_property_readonly("bytes", &SplitFinder::bytes)
      .def("best_split", &best_split, py::arg("weights"), py::arg("squares"))
      .def("left", &left, py::arg("feature"), py::arg("place"));
  py::class_<BinnedFeatures, SplitFinder>(m, "BinnedFeatures").def(py::init([](const py::object& x) {
    const Input input(x);
    return without_gil([&] { return std::make_unique<BinnedFeatures>(input.view()); });
  }));
  py::class_<HaarBins, BinnedFeatures>(m, "HaarBins")
      .def(py::init(&haar_bins))
      .def("values", [](const HaarBins& bins, std::int64_t feature) {
        py::array_t<float> out = empty<float>({bins.samples()});
        bins.values(feature, out.mutable_data());
        return out;
      });
  m.def("sorted_features", [](const py::object& x) {
    const Input input(x);
    return without_gil([&] { return sorted_features(input.view()); });
  });
}

}  // namespace saccade::bind_numpy
