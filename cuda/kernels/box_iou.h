// CUDA kernels of box_iou (csrc/ops/box_iou.h).
#pragma once

#include <cuda_runtime.h>

#include "common/tensor_view.h"
#include "ops/box_iou.h"

namespace saccade::cuda {

// Checked views of any strides, of one dtype; out dense.
void launch_box_iou(const TensorView& boxes1, const TensorView& boxes2, const BoxIouOptions& options,
                    const TensorView& out, cudaStream_t stream);
void launch_box_iou_backward(const TensorView& grad, const TensorView& boxes1, const TensorView& boxes2,
                             const BoxIouOptions& options, const TensorView& grad_boxes1, cudaStream_t stream);

}  // namespace saccade::cuda
