// NumPy arrays as views, and as outputs.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <vector>

#include "common/error.h"
#include "common/tensor_view.h"

namespace saccade::bind_numpy {

namespace py = pybind11;

// A NumPy array that csrc/ops can read: native byte order, strides that are whole elements. What is not (big-endian,
// misaligned, a field of a record) is copied once; everything else is used in place, read-only or not.
class Input {
 public:
  explicit Input(const py::object& object);
  const TensorView& view() const { return view_; }
  const py::array& array() const { return array_; }

 private:
  py::array array_;
  TensorView view_;
};

// A view of an array that this module made itself and will fill.
TensorView output_view(py::array& array);

// An uninitialised C-contiguous array.
template <class T>
py::array_t<T> empty(const std::vector<std::int64_t>& sizes) {
  return py::array_t<T>(std::vector<py::ssize_t>(sizes.begin(), sizes.end()));
}
py::array empty(const std::vector<std::int64_t>& sizes, DType dtype);

// Each file of bind_numpy adds its functions here; module.cpp calls them all.
using Register = void (*)(py::module_&);
std::vector<Register>& registry();
struct Registration {
  explicit Registration(Register function) { registry().push_back(function); }
};

}  // namespace saccade::bind_numpy

// SACCADE_NUMPY(m) { m.def("nms", &nms, ...); }
#define SACCADE_NUMPY(m)                                                                    \
  static void saccade_register(pybind11::module_& m);                                       \
  static const ::saccade::bind_numpy::Registration saccade_registration(&saccade_register); \
  static void saccade_register(pybind11::module_& m)
