#include "ops/hog_descriptor.h"

#include <memory>
#include <optional>
#include <utility>

#include "bind_numpy/array.h"

namespace saccade::bind_numpy {
namespace {

using Pair = std::pair<std::int64_t, std::int64_t>;
using Descriptor = std::shared_ptr<HogDescriptor>;

HogSize size_of(const Pair& pair) { return {pair.first, pair.second}; }

Descriptor make(const Pair& window, const Pair& block, const Pair& stride, const Pair& cell, std::int64_t bins,
                double sigma, double threshold, bool gamma, std::int64_t levels, bool full_circle) {
  HogGeometry g;
  g.window = size_of(window), g.block = size_of(block), g.stride = size_of(stride), g.cell = size_of(cell);
  g.bins = bins, g.sigma = sigma, g.threshold = threshold, g.gamma = gamma, g.levels = levels;
  g.full_circle = full_circle;
  return std::make_shared<HogDescriptor>(g);
}

Descriptor with_svm(const HogDescriptor& self, const py::array_t<float, py::array::c_style>& coefficients) {
  return std::make_shared<HogDescriptor>(
      self.with_svm(std::vector<float>(coefficients.data(), coefficients.data() + coefficients.size())));
}

py::array compute(const HogDescriptor& self, const py::object& image, const Pair& stride, const Pair& padding,
                  const py::object& locations) {
  const Input input(image);
  std::optional<Input> places;
  if (!locations.is_none()) places.emplace(locations);
  const TensorView where = places ? places->view() : TensorView{};
  HogOptions options;
  options.stride = size_of(stride), options.padding = size_of(padding);
  const auto windows = self.windows("compute", input.view(), options, where);
  py::array out = empty({static_cast<std::int64_t>(windows.size()) * self.geometry().size()}, DType::kFloat32);
  auto* values = static_cast<float*>(out.mutable_data());
  {
    py::gil_scoped_release release;
    self.compute(input.view(), options, where, windows, values);
  }
  return out;
}

py::tuple detect(const HogDescriptor& self, const py::object& image, double hit_threshold, const Pair& stride,
                 const Pair& padding) {
  const Input input(image);
  HogOptions options;
  options.hit_threshold = hit_threshold, options.stride = size_of(stride), options.padding = size_of(padding);
  std::vector<HogHit> hits;
  {
    py::gil_scoped_release release;
    hits = self.detect(input.view(), options);
  }
  const auto count = static_cast<std::int64_t>(hits.size());
  py::array_t<std::int32_t> places = empty<std::int32_t>({count, 2});
  py::array_t<double> scores = empty<double>({count});
  for (std::size_t i = 0; i < hits.size(); ++i) {
    places.mutable_data()[2 * i] = hits[i].x;
    places.mutable_data()[2 * i + 1] = hits[i].y;
    scores.mutable_data()[i] = hits[i].score;
  }
  return py::make_tuple(places, scores);
}

py::tuple detect_multi_scale(const HogDescriptor& self, const py::object& image, double hit_threshold,
                             const Pair& stride, const Pair& padding, double scale, std::int64_t min_neighbors) {
  const Input input(image);
  HogOptions options;
  options.hit_threshold = hit_threshold, options.stride = size_of(stride), options.padding = size_of(padding);
  options.scale = scale, options.min_neighbors = min_neighbors;
  HogDetections found;
  {
    py::gil_scoped_release release;
    found = self.detect_multi_scale("detect_multi_scale", input.view(), options);
  }
  const auto count = static_cast<std::int64_t>(found.boxes.size());
  py::array_t<std::int32_t> boxes = empty<std::int32_t>({count, 4});
  static_assert(sizeof(Rectangle) == 4 * sizeof(std::int32_t));
  std::copy(found.boxes.begin(), found.boxes.end(), reinterpret_cast<Rectangle*>(boxes.mutable_data()));
  py::array_t<double> scores = empty<double>({count});
  std::copy(found.scores.begin(), found.scores.end(), scores.mutable_data());
  return py::make_tuple(boxes, scores);
}

py::object coefficients_of(const HogDescriptor& self) {
  const std::vector<float>& c = self.coefficients();
  if (c.empty()) return py::none();
  return py::array_t<float>(static_cast<py::ssize_t>(c.size()), c.data());
}

}  // namespace

SACCADE_NUMPY(m) {
  py::class_<HogDescriptor, Descriptor>(m, "HOGDescriptor")
      .def(py::init(&make))
      .def_property_readonly("size", [](const HogDescriptor& d) { return d.geometry().size(); })
      .def_property_readonly("coefficients", &coefficients_of)
      .def("with_svm", &with_svm)
      .def("compute", &compute)
      .def("detect", &detect)
      .def("detect_multi_scale", &detect_multi_scale);
}

}  // namespace saccade::bind_numpy
