#include "ops/graph_cut.h"

#include "bind_numpy/array.h"

namespace saccade::bind_numpy {
namespace {

// (labels, energy): the energy is None where it is not asked for, an integer where the costs are.
py::tuple graph_cut(const py::object& unary, const py::object& pairwise, std::int64_t connectivity, bool energy) {
  const Input costs(unary), weights(pairwise);
  check_graph_cut(costs.view(), weights.view(), connectivity);
  py::array labels = empty<std::uint8_t>({costs.view().sizes + 1, costs.view().sizes + costs.view().ndim});
  const TensorView out = output_view(labels);
  GraphCutEnergy sum;
  {
    py::gil_scoped_release release;
    saccade::graph_cut(costs.view(), weights.view(), connectivity, out);
    if (energy) sum = graph_cut_energy(costs.view(), weights.view(), connectivity, out);
  }
  if (!energy) return py::make_tuple(labels, py::none());
  if (costs.view().dtype == DType::kInt32) return py::make_tuple(labels, py::int_(sum.integer));
  return py::make_tuple(labels, py::float_(sum.real));
}

}  // namespace

SACCADE_NUMPY(m) {
  m.def("graph_cut", &graph_cut, py::arg("unary"), py::arg("pairwise"), py::arg("connectivity"), py::arg("energy"));
}

}  // namespace saccade::bind_numpy
