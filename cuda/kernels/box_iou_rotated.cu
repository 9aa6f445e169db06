// Pairwise IoU of rotated boxes (csrc/math/rotated_box.h).
//
// A block makes a tile of kRows x kThreads results, as in box_iou.cu: a thread owns a column, whose box it keeps in
// registers, and walks down the rows, whose boxes the block keeps in shared memory; a warp writes 32 neighbouring
// results at a time. A warp whose 32 boxes are all too far away skips the integral, some 200 instructions; the floor of
// far pairs is the write, 4 bytes each.
#include "cuda/common/launch.cuh"
#include "cuda/kernels/box_iou_rotated.h"

namespace saccade::cuda {
namespace {

constexpr int kThreads = 256, kRows = 16;

template <class A>
__global__ void __launch_bounds__(kThreads)
    box_iou_rotated_kernel(const AlignedRotatedBox<A>* boxes1, std::int64_t n, const AlignedRotatedBox<A>* boxes2,
                           std::int64_t m, A* iou) {
  using Box = AlignedRotatedBox<A>;
  SACCADE_SHARED(Box[kRows], row_boxes);
  const std::int64_t column_tiles = (m + kThreads - 1) / kThreads;
  const std::int64_t first_row = blockIdx.x / column_tiles * kRows;
  const int rows = static_cast<int>(n - first_row < kRows ? n - first_row : kRows);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < rows) row_boxes[thread] = boxes1[first_row + thread];
  __syncthreads();
  const std::int64_t column = blockIdx.x % column_tiles * kThreads + thread;
  if (column >= m) return;
  const Box box = boxes2[column];
  iou += first_row * m + column;
  for (int i = 0; i < rows; ++i) iou[i * m] = rotated_far(row_boxes[i], box) ? A(0) : rotated_iou(row_boxes[i], box);
}

}  // namespace

template <class A>
void launch_box_iou_rotated(const AlignedRotatedBox<A>* boxes1, std::int64_t n, const AlignedRotatedBox<A>* boxes2,
                            std::int64_t m, A* iou, cudaStream_t stream) {
  const std::int64_t row_tiles = (n + kRows - 1) / kRows, column_tiles = (m + kThreads - 1) / kThreads;
  launch({blocks_for(row_tiles * column_tiles, 1), kThreads, stream}, box_iou_rotated_kernel<A>, boxes1, n, boxes2, m,
         iou);
}

template void launch_box_iou_rotated<float>(const AlignedRotatedBox<float>*, std::int64_t,
                                            const AlignedRotatedBox<float>*, std::int64_t, float*, cudaStream_t);
template void launch_box_iou_rotated<double>(const AlignedRotatedBox<double>*, std::int64_t,
                                             const AlignedRotatedBox<double>*, std::int64_t, double*, cudaStream_t);

}  // namespace saccade::cuda
