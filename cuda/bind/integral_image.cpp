#include "cuda/kernels/integral_image.h"

#include "cuda/common/torch.h"
#include "ops/integral_image.h"

namespace saccade::cuda {
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
  check_integral_image("integral_image", view(image));
  const DeviceOf device(image);
  const Tensor input = torch::stable::contiguous(image);
  const ScalarType dtype = scalar_type(integral_dtype(view(image).dtype));
  const std::vector<std::int64_t> shape = integral_shape(view(image), true), none{0};
  Tensor sum = empty(shape, image, dtype), square = empty(squared ? shape : none, image, ScalarType::Double),
         slanted = empty(tilted ? shape : none, image, dtype);
  launch_integral_image(view(input), view(sum), squared ? view(square) : TensorView{},
                        tilted ? view(slanted) : TensorView{}, device.stream());
  return {sum, square, slanted};
}

}  // namespace

SACCADE_TORCH_CUDA(m) { m.impl("integral_image", SACCADE_BOX(integral_image)); }

}  // namespace saccade::cuda
