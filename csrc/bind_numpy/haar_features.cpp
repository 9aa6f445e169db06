#include "ops/haar_features.h"

#include "bind_numpy/array.h"

namespace saccade::bind_numpy {
namespace {

py::array haar_features(const std::string& op, const py::object& sum, const py::object& tilted, const py::object& kinds,
                        const py::object& offsets, const py::object& columns, std::int64_t width, std::int64_t height,
                        const py::object& windows) {
  const Input sums(sum), kind_array(kinds), offset_array(offsets), column_array(columns), window_array(windows);
  std::optional<Input> slanted;
  if (!tilted.is_none()) slanted.emplace(tilted);
  const HaarTable table{kind_array.view(), offset_array.view(), column_array.view(), width, height};
  const TensorView tilted_view = slanted ? slanted->view() : TensorView{};
  check_haar_features(op.c_str(), sums.view(), tilted_view, table, window_array.view());
  py::array values = empty({window_array.view().size(0), table.columns.size(0)}, sums.view().dtype);
  const TensorView out = output_view(values);
  {
    py::gil_scoped_release release;
    saccade::haar_features(op.c_str(), sums.view(), tilted_view, table, window_array.view(), out);
  }
  return values;
}

}  // namespace

SACCADE_NUMPY(m) { m.def("haar_features", &haar_features); }

}  // namespace saccade::bind_numpy
