// Sums over rectangles: a thread per box and image, bound by its four scattered reads of 32 bytes each.
//
// Backward: corners are sorted by their place in the integral image, once for the whole batch, and the thread at the
// first corner of a place adds up all of them in the order of the boxes. Atomic additions would be faster, but floats
// would come out different from run to run, and from the CPU.
#include <type_traits>

#include "cuda/common/launch.cuh"
#include "cuda/kernels/box_sum.h"
#include "math/box_sum.h"

namespace saccade::cuda {
namespace {

constexpr int kThreads = 256;

template <class I>
__device__ Rectangle read_rectangle(const I* box, std::int64_t rows, std::int64_t columns) {
  return clip_rectangle(box[0], box[1], box[2], box[3], columns - 1, rows - 1);
}

template <class T, class I>
__global__ void __launch_bounds__(kThreads)
    box_sum_kernel(const T* integral, const I* boxes, std::int64_t n, std::int64_t rows, std::int64_t columns, T* sums,
                   std::int64_t total) {
  using U = typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>, std::type_identity<T>>::type;
  const std::int64_t index = thread_index();
  if (index >= total) return;
  const Rectangle r = read_rectangle(boxes + 4 * (index % n), rows, columns);
  const T* table = integral + index / n * rows * columns;
  const auto at = [&](std::int64_t y, std::int64_t x) { return static_cast<U>(table[y * columns + x]); };
  const U sum = at(r.y2, r.x2) - at(r.y1, r.x2) - at(r.y2, r.x1) + at(r.y1, r.x1);
  sums[index] = r.x2 == 0 ? T{} : static_cast<T>(sum);  // empty, even where the corner is NaN
}

template <class I>
__global__ void __launch_bounds__(kThreads)
    box_sum_keys_kernel(const I* boxes, std::int64_t n, std::int64_t rows, std::int64_t columns, std::int64_t* keys) {
  const std::int64_t index = thread_index();
  if (index >= n) return;
  const Rectangle r = read_rectangle(boxes + 4 * index, rows, columns);
  std::int64_t* to = keys + 4 * index;
  to[0] = r.x2 == 0 ? -1 : r.y2 * columns + r.x2;
  to[1] = r.x2 == 0 ? -1 : r.y1 * columns + r.x2;
  to[2] = r.x2 == 0 ? -1 : r.y2 * columns + r.x1;
  to[3] = r.x2 == 0 ? -1 : r.y1 * columns + r.x1;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    box_sum_backward_kernel(const T* grad_sums, const std::int64_t* keys, const std::int64_t* order, std::int64_t n,
                            std::int64_t table_size, T* grad_integral, std::int64_t total) {
  const std::int64_t index = thread_index();
  if (index >= total) return;
  const std::int64_t corners = 4 * n, image = index / corners, first = index % corners, key = keys[first];
  if (key < 0 || (first > 0 && keys[first - 1] == key)) return;
  T sum{};
  for (std::int64_t i = first; i < corners && keys[i] == key; ++i) {
    const T grad = grad_sums[image * n + order[i] / 4];
    const int corner = static_cast<int>(order[i] % 4);
    sum = corner == 1 || corner == 2 ? sum - grad : sum + grad;
  }
  grad_integral[image * table_size + key] = sum;
}

template <class T, class I>
void launch_typed(const TensorView& integral, const TensorView& boxes, const TensorView& sums, cudaStream_t stream) {
  launch({blocks_for(sums.numel(), kThreads), kThreads, stream}, box_sum_kernel<T, I>, integral.ptr<const T>(),
         boxes.ptr<const I>(), boxes.size(0), integral.size(-2), integral.size(-1), sums.ptr<T>(), sums.numel());
}

template <class T>
void launch_backward(const TensorView& grad_sums, const std::int64_t* keys, const std::int64_t* order,
                     const TensorView& grad_integral, cudaStream_t stream) {
  const std::int64_t total = 4 * grad_sums.numel(), table_size = grad_integral.size(-2) * grad_integral.size(-1);
  launch({blocks_for(total, kThreads), kThreads, stream}, box_sum_backward_kernel<T>, grad_sums.ptr<const T>(), keys,
         order, grad_sums.size(-1), table_size, grad_integral.ptr<T>(), total);
}

template <class Body>
void dispatch_boxes(const TensorView& boxes, const Body& body) {
  boxes.dtype == DType::kInt32 ? body(std::int32_t{}) : body(std::int64_t{});
}

}  // namespace

void launch_box_sum(const TensorView& integral, const TensorView& boxes, const TensorView& sums, cudaStream_t stream) {
  dispatch_boxes(boxes, [&]<class I>(I) {
    switch (integral.dtype) {
      case DType::kInt32: return launch_typed<std::int32_t, I>(integral, boxes, sums, stream);
      case DType::kInt64: return launch_typed<std::int64_t, I>(integral, boxes, sums, stream);
      case DType::kFloat32: return launch_typed<float, I>(integral, boxes, sums, stream);
      default: return launch_typed<double, I>(integral, boxes, sums, stream);
    }
  });
}

void launch_box_sum_keys(const TensorView& boxes, std::int64_t rows, std::int64_t columns, std::int64_t* keys,
                         cudaStream_t stream) {
  dispatch_boxes(boxes, [&]<class I>(I) {
    launch({blocks_for(boxes.size(0), kThreads), kThreads, stream}, box_sum_keys_kernel<I>, boxes.ptr<const I>(),
           boxes.size(0), rows, columns, keys);
  });
}

void launch_box_sum_backward(const TensorView& grad_sums, const std::int64_t* keys, const std::int64_t* order,
                             const TensorView& grad_integral, cudaStream_t stream) {
  const std::size_t bytes = static_cast<std::size_t>(grad_integral.numel()) * dtype_size(grad_integral.dtype);
  check(cudaMemsetAsync(grad_integral.data, 0, bytes, stream), "box_sum");
  if (grad_sums.dtype == DType::kFloat32)
    launch_backward<float>(grad_sums, keys, order, grad_integral, stream);
  else
    launch_backward<double>(grad_sums, keys, order, grad_integral, stream);
}

}  // namespace saccade::cuda
