#include "bind_numpy/array.h"
#include "ops/cascade_levels.h"

namespace saccade::bind_numpy {
namespace {

py::array resize_linear_exact(const py::object& image, std::int64_t width, std::int64_t height) {
  const Input input(image);
  check_resize_linear_exact(input.view(), width, height);
  py::array out = empty({height, width}, input.view().dtype);
  const TensorView out_view = output_view(out);
  {
    py::gil_scoped_release release;
    saccade::resize_linear_exact(input.view(), out_view);
  }
  return out;
}

}  // namespace

SACCADE_NUMPY(m) {
  m.def("resize_linear_exact", &resize_linear_exact, py::arg("image"), py::arg("width"), py::arg("height"));
}

}  // namespace saccade::bind_numpy
