#include "ops/nms.h"

#include "bind_numpy/array.h"

namespace saccade::bind_numpy {
namespace {

using MaxOutput = std::optional<std::int64_t>;

py::array_t<std::int64_t> indices(const std::vector<std::int64_t>& keep) {
  return py::array_t<std::int64_t>(static_cast<py::ssize_t>(keep.size()), keep.data());
}

py::array_t<std::int64_t> nms(const py::object& boxes, const py::object& scores, double iou_threshold,
                              MaxOutput max_output) {
  const Input box_array(boxes), score_array(scores);
  std::vector<std::int64_t> keep;
  {
    py::gil_scoped_release release;
    keep = saccade::nms(box_array.view(), score_array.view(), iou_threshold, max_output);
  }
  return indices(keep);
}

py::array_t<std::int64_t> batched_nms(const py::object& boxes, const py::object& scores, const py::object& idxs,
                                      double iou_threshold, MaxOutput max_output) {
  const Input box_array(boxes), score_array(scores), idx_array(idxs);
  std::vector<std::int64_t> keep;
  {
    py::gil_scoped_release release;
    keep = saccade::batched_nms(box_array.view(), score_array.view(), idx_array.view(), iou_threshold, max_output);
  }
  return indices(keep);
}

}  // namespace

SACCADE_NUMPY(m) {
  m.def("nms", &nms, py::arg("boxes"), py::arg("scores"), py::arg("iou_threshold"),
        py::arg("max_output") = MaxOutput{});
  m.def("batched_nms", &batched_nms, py::arg("boxes"), py::arg("scores"), py::arg("idxs"), py::arg("iou_threshold"),
        py::arg("max_output") = MaxOutput{});
}

}  // namespace saccade::bind_numpy
