#include "ops/integral_image.h"

#include "bind_torch/tensor.h"

namespace saccade::bind_torch {
namespace {

ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::kInt32: return ScalarType::Int;
    case DType::kInt64: return ScalarType::Long;
    default: return ScalarType::Double;
  }
}

// What is not asked for is a tensor without elements.
std::tuple<Tensor, Tensor, Tensor> integral_image(const Tensor& image, bool squared, bool tilted) {
  const TensorView input = view(image);
  check_integral_image("integral_image", input);
  const ScalarType dtype = scalar_type(integral_dtype(input.dtype));
  const std::vector<std::int64_t> shape = integral_shape(input, true), none{0};
  Tensor sum = empty(shape, image, dtype), square = empty(squared ? shape : none, image, ScalarType::Double),
         slanted = empty(tilted ? shape : none, image, dtype);
  saccade::integral_image(input, true, view(sum), squared ? view(square) : TensorView{},
                          tilted ? view(slanted) : TensorView{});
  return {sum, square, slanted};
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def("integral_image(Tensor image, bool squared=False, bool tilted=False) -> (Tensor, Tensor, Tensor)");
}

SACCADE_TORCH_CPU(m) { m.impl("integral_image", SACCADE_BOX(integral_image)); }

}  // namespace saccade::bind_torch
