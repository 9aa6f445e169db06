#include "ops/selective_search.h"

#include <cstring>

#include "bind_numpy/array.h"

namespace saccade::bind_numpy {
namespace {

py::array selective_search(const py::object& image, const std::vector<int>& spaces, const std::vector<double>& scales,
                           const std::vector<unsigned>& likenesses, double sigma, std::int64_t min_side,
                           std::uint64_t seed) {
  const Input pixels(image);
  SelectiveSearchOptions options{{}, scales, likenesses, sigma, min_side, seed};
  for (int space : spaces) options.spaces.push_back(static_cast<ColorSpace>(space));
  check_selective_search(pixels.view(), options);
  std::vector<Box> boxes;
  {
    py::gil_scoped_release release;
    boxes = saccade::selective_search(pixels.view(), options);
  }
  py::array_t<std::int32_t> out = empty<std::int32_t>({static_cast<std::int64_t>(boxes.size()), 4});
  if (!boxes.empty()) std::memcpy(out.mutable_data(), boxes.data(), boxes.size() * sizeof(Box));
  return out;
}

// The planes that one colour space makes of an image.
py::array color_planes(const py::object& image, int space) {
  const Input pixels(image);
  check_selective_search(pixels.view(), {{}, {}, {}, 0, 1, 0});
  const ColorSpace target = static_cast<ColorSpace>(space);
  py::array_t<std::uint8_t> out =
      empty<std::uint8_t>({channels_of(target), pixels.view().size(0), pixels.view().size(1)});
  saccade::color_planes(pixels.view(), target, out.mutable_data());
  return out;
}

}  // namespace

SACCADE_NUMPY(m) {
  m.def("selective_search", &selective_search, py::arg("image"), py::arg("spaces"), py::arg("scales"),
        py::arg("likenesses"), py::arg("sigma"), py::arg("min_side"), py::arg("seed"));
  m.def("color_planes", &color_planes, py::arg("image"), py::arg("space"));
}

}  // namespace saccade::bind_numpy
