// CUDA kernels of box_filter (csrc/ops/box_filter.h).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/tensor_view.h"

namespace saccade::cuda {

// image and out: contiguous. column_sums and suffixes: scratch of box_filter_scratch_bytes each.
void launch_box_filter(const TensorView& image, std::int64_t rows, std::int64_t columns, void* column_sums,
                       void* suffixes, const TensorView& out, cudaStream_t stream);

// Of column_sums; of suffixes too where box_filter_needs_suffixes.
std::int64_t box_filter_scratch_bytes(const TensorView& image);
bool box_filter_needs_suffixes(std::int64_t columns);

}  // namespace saccade::cuda
