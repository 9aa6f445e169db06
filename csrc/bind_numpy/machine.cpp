// What `saccade info` and the benchmarks ask about the build and the machine.
#include "bind_numpy/array.h"
#include "kernels/peak.h"

namespace saccade::bind_numpy {

SACCADE_NUMPY(m) {
#if defined(__clang__)
  m.attr("compiler") = "Clang " __clang_version__;
#else
  m.attr("compiler") = "GCC " __VERSION__;
#endif
  m.def(
      "fma_chains",
      [](std::int64_t steps) {
        float sink = 0;
        return peak_kernels().fma_chains(steps, &sink);
      },
      py::arg("steps"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace saccade::bind_numpy
