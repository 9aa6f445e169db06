// saccade._numpy: the NumPy half of the library. It knows nothing of torch.
#include <omp.h>

#include "bind_numpy/array.h"
#include "isa/isa.h"

namespace py = pybind11;

PYBIND11_MODULE(_numpy, m) {
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      std::rethrow_exception(pointer);
    } catch (const saccade::TypeError& error) {
      py::set_error(PyExc_TypeError, error.what());
    }
  });
  m.attr("__version__") = SACCADE_VERSION;
  m.def("active_isa", [] { return saccade::isa_name(saccade::active_isa()); });
  m.def("detected_isa", [] { return saccade::isa_name(saccade::detected_isa()); });
  m.def("set_num_threads", [](int count) {
    saccade::require(count >= 1, "set_num_threads: count must be at least 1, got ", count);
    omp_set_num_threads(count);
  });
  m.def("get_num_threads", [] { return omp_get_max_threads(); });
  for (auto function : saccade::bind_numpy::registry()) function(m);
}
