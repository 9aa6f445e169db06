// Pairwise box IoU.
//
// Forward: a block makes a tile of kRows x kThreads results. A thread owns a column, whose box it keeps in registers,
// and walks down the rows, whose boxes the block keeps in shared memory: a warp writes 32 neighbouring results at a
// time. The floor is the write, 4 bytes per pair. Backward: a warp owns a box of the first set; its lanes stride over
// the second set and are summed by shuffles, always in the same order. A transposed grad (the gradient of the second
// set) is read across its rows: the eight warps of a block own neighbouring boxes, so that they share the 32-byte
// sectors.
#include <cstdint>

#include "common/dispatch.h"
#include "cuda/common/launch.cuh"
#include "cuda/kernels/box_iou.h"
#include "math/half.h"

namespace saccade::cuda {
namespace {

constexpr int kThreads = 256, kRows = 16, kWarp = 32, kWarps = kThreads / kWarp;

// Where the matrix of batch index b begins, in elements.
__device__ std::int64_t batch_offset(const TensorView& view, std::int64_t b) {
  std::int64_t offset = 0;
  for (int d = view.ndim - 3; d >= 0; --d) {
    offset += b % view.sizes[d] * view.strides[d];
    b /= view.sizes[d];
  }
  return offset;
}

template <BoxIouKind kind, class T, class A, class R>
__device__ PairBox<A, R> load_box(const TensorView& boxes, std::int64_t batch, std::int64_t i, BoxFormat format) {
  const std::int64_t step = boxes.strides[boxes.ndim - 1];
  const T* p = static_cast<const T*>(boxes.data) + batch_offset(boxes, batch) + i * boxes.strides[boxes.ndim - 2];
  A value[4];
  for (int c = 0; c < 4; ++c) {
    if constexpr (std::is_integral_v<T>) {
      value[c] = static_cast<A>(p[c * step]);
    } else {
      value[c] = static_cast<A>(to_float(p[c * step]));
    }
  }
  return pair_box<R>(value[0], value[1], value[2], value[3], kind, format);
}

template <BoxIouKind kind, class T, class A, class R>
__global__ void __launch_bounds__(kThreads)
    box_iou_kernel(TensorView boxes1, TensorView boxes2, BoxFormat format, R eps, R* out) {
  using Box = PairBox<A, R>;
  SACCADE_SHARED(Box[kRows], row_boxes);
  const std::int64_t n = boxes1.sizes[boxes1.ndim - 2], m = boxes2.sizes[boxes2.ndim - 2];
  const std::int64_t row_tiles = (n + kRows - 1) / kRows, column_tiles = (m + kThreads - 1) / kThreads;
  const std::int64_t column_tile = blockIdx.x % column_tiles, rest = blockIdx.x / column_tiles;
  const std::int64_t first_row = rest % row_tiles * kRows, batch = rest / row_tiles;
  const int rows = static_cast<int>(n - first_row < kRows ? n - first_row : kRows);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < rows) row_boxes[thread] = load_box<kind, T, A, R>(boxes1, batch, first_row + thread, format);
  __syncthreads();
  const std::int64_t column = column_tile * kThreads + thread;
  if (column >= m) return;
  const Box box = load_box<kind, T, A, R>(boxes2, batch, column, format);
  out += (batch * n + first_row) * m + column;
  for (int i = 0; i < rows; ++i) out[i * m] = pair_iou<kind>(row_boxes[i], box, eps);
}

template <class R>
__device__ R warp_sum(R value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

template <BoxIouKind kind, class T, class R>
__global__ void __launch_bounds__(kThreads)
    box_iou_backward_kernel(TensorView grad, TensorView boxes1, TensorView boxes2, BoxFormat format, R eps,
                            T* grad_boxes1) {
  const std::int64_t n = boxes1.sizes[boxes1.ndim - 2], m = boxes2.sizes[boxes2.ndim - 2];
  const std::int64_t blocks = (n + kWarps - 1) / kWarps;
  const std::int64_t batch = blockIdx.x / blocks;
  const std::int64_t row = blockIdx.x % blocks * kWarps + threadIdx.x / kWarp;
  if (row >= n) return;  // the whole warp
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const PairBox<R, R> box = load_box<kind, T, R, R>(boxes1, batch, row, format);
  const R* g = static_cast<const R*>(grad.data) + batch_offset(grad, batch) + row * grad.strides[grad.ndim - 2];
  const std::int64_t column_stride = grad.strides[grad.ndim - 1];
  PairBox<R, R> sum = {};
  for (std::int64_t j = lane; j < m; j += kWarp) {
    const PairBox<R, R> other = load_box<kind, T, R, R>(boxes2, batch, j, format);
    pair_iou_backward<kind>(box, other, g[j * column_stride], eps, sum);
  }
  sum = {warp_sum(sum.x1),   warp_sum(sum.y1), warp_sum(sum.x2), warp_sum(sum.y2),
         warp_sum(sum.area), warp_sum(sum.cx), warp_sum(sum.cy), warp_sum(sum.angle)};
  if (lane > 0) return;
  R result[4];
  box_gradient(box, sum, kind, format, result);
  for (int c = 0; c < 4; ++c) grad_boxes1[(batch * n + row) * 4 + c] = from_float<T>(result[c]);
}

// A kernel holds the formula of one kind only.
template <BoxIouKind value>
struct KindTag {
  static constexpr BoxIouKind kind = value;
};
template <class Body>
void dispatch_kind(BoxIouKind kind, const Body& body) {
  switch (kind) {
    case BoxIouKind::kIou: return body(KindTag<BoxIouKind::kIou>{});
    case BoxIouKind::kGeneralized: return body(KindTag<BoxIouKind::kGeneralized>{});
    case BoxIouKind::kDistance: return body(KindTag<BoxIouKind::kDistance>{});
    case BoxIouKind::kComplete: return body(KindTag<BoxIouKind::kComplete>{});
  }
}

std::int64_t batch_size(const TensorView& view) {
  std::int64_t batch = 1;
  for (int d = 0; d < view.ndim - 2; ++d) batch *= view.sizes[d];
  return batch;
}

template <class T, class A, class R>
void launch_forward(const TensorView& boxes1, const TensorView& boxes2, const BoxIouOptions& options,
                    const TensorView& out, cudaStream_t stream) {
  const std::int64_t row_tiles = (boxes1.size(-2) + kRows - 1) / kRows;
  const std::int64_t column_tiles = (boxes2.size(-2) + kThreads - 1) / kThreads;
  const LaunchShape shape = {blocks_for(batch_size(boxes1) * row_tiles * column_tiles, 1), kThreads, stream};
  dispatch_kind(options.kind, [&](auto tag) {
    launch(shape, box_iou_kernel<decltype(tag)::kind, T, A, R>, boxes1, boxes2, options.format,
           static_cast<R>(options.eps), out.ptr<R>());
  });
}

}  // namespace

void launch_box_iou(const TensorView& boxes1, const TensorView& boxes2, const BoxIouOptions& options,
                    const TensorView& out, cudaStream_t stream) {
  if (out.numel() == 0) return;
  auto integer = [&](auto tag) {
    launch_forward<typename decltype(tag)::type, double, float>(boxes1, boxes2, options, out, stream);
  };
  switch (boxes1.dtype) {
    case DType::kUInt8: return integer(TypeTag<std::uint8_t>{});
    case DType::kInt8: return integer(TypeTag<std::int8_t>{});
    case DType::kInt16: return integer(TypeTag<std::int16_t>{});
    case DType::kInt32: return integer(TypeTag<std::int32_t>{});
    case DType::kInt64: return integer(TypeTag<std::int64_t>{});
    case DType::kFloat64: return launch_forward<double, double, double>(boxes1, boxes2, options, out, stream);
    case DType::kFloat16: return launch_forward<Float16, float, float>(boxes1, boxes2, options, out, stream);
    case DType::kBFloat16: return launch_forward<BFloat16, float, float>(boxes1, boxes2, options, out, stream);
    default: return launch_forward<float, float, float>(boxes1, boxes2, options, out, stream);
  }
}

void launch_box_iou_backward(const TensorView& grad, const TensorView& boxes1, const TensorView& boxes2,
                             const BoxIouOptions& options, const TensorView& grad_boxes1, cudaStream_t stream) {
  const std::int64_t blocks = batch_size(boxes1) * ((boxes1.size(-2) + kWarps - 1) / kWarps);
  dispatch_floating(boxes1.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    using R = decltype(to_float(T{}));
    dispatch_kind(options.kind, [&](auto tag) {
      launch({blocks_for(blocks, 1), kThreads, stream}, box_iou_backward_kernel<decltype(tag)::kind, T, R>, grad,
             boxes1, boxes2, options.format, static_cast<R>(options.eps), grad_boxes1.ptr<T>());
    });
  });
}

}  // namespace saccade::cuda
