#include "ops/grab_cut.h"

#include <algorithm>

#include "bind_numpy/array.h"

namespace saccade::bind_numpy {
namespace {

// mask: a uint8 array that Python has copied for us; it is updated. models: None or float64 (2, 65).
py::array grab_cut(const py::object& image, py::array mask, const py::object& models, std::int64_t iterations,
                   std::uint64_t seed) {
  const Input pixels(image);
  const TensorView mask_view = output_view(mask);
  GrabCutOptions options{iterations, seed, !models.is_none()};
  check_grab_cut(pixels.view(), mask_view, options);
  py::array_t<double> out = empty<double>({2, kGrabModel});
  double* values = out.mutable_data();
  std::fill_n(values, 2 * kGrabModel, 0.0);
  if (options.given) {
    const py::array_t<double, py::array::c_style | py::array::forcecast> given(models);
    require(given.size() == 2 * kGrabModel, "grab_cut: models must hold 65 values each");
    std::copy_n(given.data(), 2 * kGrabModel, values);
  }
  {
    py::gil_scoped_release release;
    saccade::grab_cut(pixels.view(), mask_view, options, values, values + kGrabModel);
  }
  return out;
}

}  // namespace

SACCADE_NUMPY(m) {
  m.def("grab_cut", &grab_cut, py::arg("image"), py::arg("mask"), py::arg("models"), py::arg("iterations"),
        py::arg("seed"));
}

}  // namespace saccade::bind_numpy
