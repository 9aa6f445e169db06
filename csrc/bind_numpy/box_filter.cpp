#include "ops/box_filter.h"

#include "bind_numpy/array.h"
#include "ops/box_sum.h"

namespace saccade::bind_numpy {
namespace {

std::vector<std::int64_t> shape_of(const TensorView& view) { return {view.sizes, view.sizes + view.ndim}; }

py::array box_filter(const py::object& image, std::int64_t rows, std::int64_t columns) {
  const Input input(image);
  check_box_filter("box_filter", input.view(), rows, columns);
  py::array out = empty(shape_of(input.view()), input.view().dtype);
  const TensorView view = output_view(out);
  {
    py::gil_scoped_release release;
    saccade::box_filter(input.view(), rows, columns, view);
  }
  return out;
}

py::array box_sum(const py::object& integral, const py::object& boxes) {
  const Input table(integral), box_array(boxes);
  check_box_sum("box_sum", table.view(), box_array.view());
  py::array sums = empty(box_sum_shape(table.view(), box_array.view()), table.view().dtype);
  const TensorView view = output_view(sums);
  {
    py::gil_scoped_release release;
    saccade::box_sum(table.view(), box_array.view(), view);
  }
  return sums;
}

}  // namespace

SACCADE_NUMPY(m) {
  m.def("box_filter", &box_filter, py::arg("image"), py::arg("rows"), py::arg("columns"));
  m.def("box_sum", &box_sum, py::arg("integral"), py::arg("boxes"));
}

}  // namespace saccade::bind_numpy
