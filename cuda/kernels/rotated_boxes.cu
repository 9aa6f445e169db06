// One thread per box.
#include "common/dispatch.h"
#include "cuda/common/launch.cuh"
#include "cuda/kernels/rotated_boxes.h"
#include "math/half.h"

namespace saccade::cuda {
namespace {

constexpr int kThreads = 256;

template <class T, class A>
__global__ void __launch_bounds__(kThreads)
    rotated_boxes_kernel(const __grid_constant__ TensorView rows, const std::int64_t* order,
                         AlignedRotatedBox<A>* boxes) {
  const std::int64_t i = thread_index();
  if (i >= rows.sizes[0]) return;
  const T* row = static_cast<const T*>(rows.data) + (order == nullptr ? i : order[i]) * rows.strides[0];
  A value[5];
  for (int j = 0; j < 5; ++j) value[j] = static_cast<A>(to_float(row[j * rows.strides[1]]));
  boxes[i] = {rotated_box<A>(value[0], value[1], value[2], value[3], value[4])};
}

}  // namespace

template <class A>
void launch_rotated_boxes(const TensorView& rows, const std::int64_t* order, AlignedRotatedBox<A>* boxes,
                          cudaStream_t stream) {
  dispatch_floating(rows.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch({blocks_for(rows.size(0), kThreads), kThreads, stream}, rotated_boxes_kernel<T, A>, rows, order, boxes);
  });
}

template void launch_rotated_boxes<float>(const TensorView&, const std::int64_t*, AlignedRotatedBox<float>*,
                                          cudaStream_t);
template void launch_rotated_boxes<double>(const TensorView&, const std::int64_t*, AlignedRotatedBox<double>*,
                                           cudaStream_t);

}  // namespace saccade::cuda
