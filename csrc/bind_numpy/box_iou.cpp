#include "ops/box_iou.h"

#include "bind_numpy/array.h"

namespace saccade::bind_numpy {
namespace {

py::array box_iou(const py::object& boxes1, const py::object& boxes2) {
  const Input first(boxes1), second(boxes2);
  const BoxIouOptions options;
  check_box_iou(first.view(), second.view(), options);
  py::array out = empty(box_iou_shape(first.view(), second.view()), box_iou_dtype(first.view().dtype));
  const TensorView out_view = output_view(out);
  {
    py::gil_scoped_release release;
    saccade::box_iou(first.view(), second.view(), options, out_view);
  }
  return out;
}

}  // namespace

SACCADE_NUMPY(m) { m.def("box_iou", &box_iou, py::arg("boxes1"), py::arg("boxes2")); }

}  // namespace saccade::bind_numpy
