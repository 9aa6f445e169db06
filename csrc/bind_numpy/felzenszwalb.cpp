#include "ops/felzenszwalb.h"

#include "bind_numpy/array.h"

namespace saccade::bind_numpy {
namespace {

py::array felzenszwalb(const py::object& image, double scale, double sigma, std::int64_t min_size) {
  const Input pixels(image);
  const FelzenszwalbOptions options{scale, sigma, min_size};
  check_felzenszwalb(pixels.view(), options);
  py::array labels = empty<std::int64_t>({pixels.view().size(0), pixels.view().size(1)});
  const TensorView out = output_view(labels);
  {
    py::gil_scoped_release release;
    saccade::felzenszwalb(pixels.view(), options, out);
  }
  return labels;
}

}  // namespace

SACCADE_NUMPY(m) {
  m.def("felzenszwalb", &felzenszwalb, py::arg("image"), py::arg("scale"), py::arg("sigma"), py::arg("min_size"));
}

}  // namespace saccade::bind_numpy
