#include "ops/cascade.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "bind_numpy/array.h"

namespace saccade::bind_numpy {
namespace {

// Whole arrays of one dtype, copied: a model is small and is made once.
template <class T>
std::vector<T> vector_of(const py::dict& arrays, const char* name) {
  require(arrays.contains(name), "CascadeClassifier: ", name, " is missing");
  const Input input(arrays[name]);
  require_type(input.view().dtype == DTypeOf<T>::value, "CascadeClassifier: ", name, " must be ",
               dtype_name(DTypeOf<T>::value), ", got ", dtype_name(input.view().dtype));
  const py::array_t<T, py::array::c_style> array(input.array());
  return std::vector<T>(array.data(), array.data() + array.size());
}

template <class T>
py::array_t<T> array_of(const std::vector<T>& values, std::vector<py::ssize_t> shape) {
  py::array_t<T> array(std::move(shape));
  std::copy(values.begin(), values.end(), array.mutable_data());
  return array;
}

std::unique_ptr<CascadeClassifier> classifier_of(bool haar, std::int32_t width, std::int32_t height,
                                                 const py::dict& arrays) {
  CascadeModel model;
  model.features = haar ? CascadeFeatures::kHaar : CascadeFeatures::kLbp;
  model.width = width;
  model.height = height;
  model.stage_thresholds = vector_of<float>(arrays, "stage_thresholds");
  model.stage_trees = vector_of<std::int32_t>(arrays, "stage_trees");
  model.tree_nodes = vector_of<std::int32_t>(arrays, "tree_nodes");
  model.nodes = vector_of<std::int32_t>(arrays, "nodes");
  model.thresholds = vector_of<float>(arrays, "thresholds");
  model.subsets = vector_of<std::int32_t>(arrays, "subsets");
  model.leaves = vector_of<float>(arrays, "leaves");
  model.rects = vector_of<std::int32_t>(arrays, "rects");
  model.weights = vector_of<float>(arrays, "weights");
  model.tilted = vector_of<std::uint8_t>(arrays, "tilted");
  return std::make_unique<CascadeClassifier>(std::move(model));
}

py::dict arrays_of(const CascadeClassifier& classifier) {
  const CascadeModel& model = classifier.model();
  const auto size = [](const auto& vector) { return static_cast<py::ssize_t>(vector.size()); };
  py::dict arrays;
  arrays["stage_thresholds"] = array_of(model.stage_thresholds, {size(model.stage_thresholds)});
  arrays["stage_trees"] = array_of(model.stage_trees, {size(model.stage_trees)});
  arrays["tree_nodes"] = array_of(model.tree_nodes, {size(model.tree_nodes)});
  arrays["nodes"] = array_of(model.nodes, {size(model.nodes) / 3, 3});
  arrays["thresholds"] = array_of(model.thresholds, {size(model.thresholds)});
  arrays["subsets"] = array_of(model.subsets, {size(model.subsets) / kLbpWords, kLbpWords});
  arrays["leaves"] = array_of(model.leaves, {size(model.leaves)});
  arrays["rects"] = array_of(model.rects, {size(model.tilted), 3, 4});
  arrays["weights"] = array_of(model.weights, {size(model.tilted), 3});
  arrays["tilted"] = array_of(model.tilted, {size(model.tilted)});
  return arrays;
}

py::array_t<std::int32_t> boxes_of(const std::vector<Rectangle>& boxes) {
  py::array_t<std::int32_t> array = empty<std::int32_t>({static_cast<std::int64_t>(boxes.size()), 4});
  static_assert(sizeof(Rectangle) == 4 * sizeof(std::int32_t));
  std::copy(boxes.begin(), boxes.end(), reinterpret_cast<Rectangle*>(array.mutable_data()));
  return array;
}

py::list detect(const CascadeClassifier& classifier, const py::list& images, double scale_factor,
                std::int64_t min_neighbors, std::pair<std::int64_t, std::int64_t> min_size,
                std::pair<std::int64_t, std::int64_t> max_size) {
  std::vector<Input> inputs;
  std::vector<TensorView> views;
  for (const auto& image : images) inputs.emplace_back(py::reinterpret_borrow<py::object>(image));
  for (const Input& input : inputs) views.push_back(input.view());
  CascadeOptions options;
  options.scale_factor = scale_factor;
  options.min_neighbors = min_neighbors;
  options.min_size[0] = min_size.first, options.min_size[1] = min_size.second;
  options.max_size[0] = max_size.first, options.max_size[1] = max_size.second;
  std::vector<CascadeDetections> found;
  {
    py::gil_scoped_release release;
    found = classifier.detect(views, options);
  }
  py::list results;
  for (const CascadeDetections& d : found) {
    const auto count = static_cast<py::ssize_t>(d.boxes.size());
    results.append(py::make_tuple(boxes_of(d.boxes), array_of(d.scores, {count}), array_of(d.levels, {count})));
  }
  return results;
}

py::tuple group(const py::object& boxes, std::int64_t min_neighbors, double eps) {
  const Input input(boxes);
  const TensorView& view = input.view();
  require(view.ndim == 2 && view.size(1) == 4, "group_rectangles: boxes must have shape (N, 4), got ",
          shape_string(view));
  require_type(view.dtype == DType::kInt32, "group_rectangles: boxes must be int32, got ", dtype_name(view.dtype));
  std::vector<Rectangle> list(static_cast<std::size_t>(view.size(0)));
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::int32_t* p = view.ptr<std::int32_t>() + static_cast<std::int64_t>(i) * view.stride(0);
    const std::int64_t step = view.stride(1);
    list[i] = {p[0], p[step], p[2 * step], p[3 * step]};
  }
  RectangleGroups groups;
  {
    py::gil_scoped_release release;
    groups = group_rectangles(list, {}, min_neighbors, eps);
  }
  return py::make_tuple(boxes_of(groups.boxes),
                        array_of(groups.counts, {static_cast<py::ssize_t>(groups.counts.size())}));
}

}  // namespace

SACCADE_NUMPY(m) {
  py::class_<CascadeClassifier>(m, "CascadeClassifier")
      .def(py::init(&classifier_of), py::arg("haar"), py::arg("width"), py::arg("height"), py::arg("arrays"))
      .def_property_readonly("haar",
                             [](const CascadeClassifier& c) { return c.model().features == CascadeFeatures::kHaar; })
      .def_property_readonly("width", [](const CascadeClassifier& c) { return c.model().width; })
      .def_property_readonly("height", [](const CascadeClassifier& c) { return c.model().height; })
      .def("arrays", &arrays_of)
      .def("detect", &detect);
  m.def("group_rectangles", &group, py::arg("boxes"), py::arg("min_neighbors"), py::arg("eps"));
}

}  // namespace saccade::bind_numpy
