#include "ops/integral_image.h"

#include "bind_numpy/array.h"

namespace saccade::bind_numpy {
namespace {

py::object integral_image(const py::object& image, bool squared, bool tilted, bool padded) {
  const Input input(image);
  check_integral_image("integral_image", input.view());
  const DType dtype = integral_dtype(input.view().dtype);
  const auto shape = integral_shape(input.view(), padded);
  py::array sum = empty(shape, dtype), square, slanted;
  TensorView square_view, slanted_view;
  if (squared) square = empty(shape, DType::kFloat64), square_view = output_view(square);
  if (tilted) slanted = empty(shape, dtype), slanted_view = output_view(slanted);
  const TensorView sum_view = output_view(sum);
  {
    py::gil_scoped_release release;
    saccade::integral_image(input.view(), padded, sum_view, square_view, slanted_view);
  }
  if (squared && tilted) return py::make_tuple(sum, square, slanted);
  if (squared) return py::make_tuple(sum, square);
  if (tilted) return py::make_tuple(sum, slanted);
  return sum;
}

}  // namespace

SACCADE_NUMPY(m) {
  m.def("integral_image", &integral_image, py::arg("image"), py::arg("squared"), py::arg("tilted"), py::arg("padded"));
}

}  // namespace saccade::bind_numpy
