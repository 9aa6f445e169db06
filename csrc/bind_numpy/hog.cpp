#include "ops/hog.h"

#include "bind_numpy/array.h"

namespace saccade::bind_numpy {
namespace {

using Pair = std::pair<std::int64_t, std::int64_t>;

HogCells cells_of(std::int64_t bins, const Pair& cell, const Pair& block) {
  return {bins, {cell.first, cell.second}, {block.first, block.second}};
}

// The normalised blocks and the cells' histograms.
py::tuple hog(const py::object& planes, std::int64_t bins, const Pair& cell, const Pair& block, int norm) {
  const Input input(planes);
  const HogCells cells = cells_of(bins, cell, block);
  check_hog(input.view(), 3, cells, static_cast<HogNorm>(norm));
  require(input.view().is_contiguous(), "hog: image must be C-contiguous");
  const std::int64_t rows = input.view().size(1) / cell.first, columns = input.view().size(2) / cell.second;
  py::array histogram = empty({rows, columns, bins}, DType::kFloat64);
  const DType dtype = input.view().dtype == DType::kFloat32 ? DType::kFloat32 : DType::kFloat64;
  py::array blocks =
      empty({rows - block.first + 1, columns - block.second + 1, block.first, block.second, bins}, dtype);
  const TensorView sums = output_view(histogram), out = output_view(blocks);
  {
    py::gil_scoped_release release;
    hog_histogram(input.view(), cells, sums);
    hog_blocks(sums, cells, static_cast<HogNorm>(norm), out);
  }
  return py::make_tuple(blocks, histogram);
}

}  // namespace

SACCADE_NUMPY(m) { m.def("hog", &hog); }

}  // namespace saccade::bind_numpy
