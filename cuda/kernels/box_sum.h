// CUDA kernels of box_sum (csrc/ops/box_sum.h). All tensors contiguous.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/tensor_view.h"

namespace saccade::cuda {

void launch_box_sum(const TensorView& integral, const TensorView& boxes, const TensorView& sums, cudaStream_t stream);

// keys (4 n): for every corner of every box its place in an integral image of (rows, columns), -1 for empty boxes.
void launch_box_sum_keys(const TensorView& boxes, std::int64_t rows, std::int64_t columns, std::int64_t* keys,
                         cudaStream_t stream);

// keys: sorted, equal ones in the order of the boxes; order: where each was before.
void launch_box_sum_backward(const TensorView& grad_sums, const std::int64_t* keys, const std::int64_t* order,
                             const TensorView& grad_integral, cudaStream_t stream);

}  // namespace saccade::cuda
