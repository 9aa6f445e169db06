// CUDA kernels of box_iou_rotated (csrc/ops/box_iou_rotated.h).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/kernels/rotated_boxes.h"

namespace saccade::cuda {

// iou (n, m), dense.
template <class A>
void launch_box_iou_rotated(const AlignedRotatedBox<A>* boxes1, std::int64_t n, const AlignedRotatedBox<A>* boxes2,
                            std::int64_t m, A* iou, cudaStream_t stream);

}  // namespace saccade::cuda
