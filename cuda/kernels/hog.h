// CUDA kernels of hog (csrc/ops/hog.h).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "ops/hog.h"

namespace saccade::cuda {

// images (N, C, H, W) and blocks (of hog_shape): contiguous. edges and histogram: scratch of as many doubles as
// hog_edge_count and hog_histogram_count say.
void launch_hog(const TensorView& images, const HogCells& cells, HogNorm norm, double* edges, double* histogram,
                const TensorView& blocks, cudaStream_t stream);

std::int64_t hog_edge_count(const HogCells& cells);
std::int64_t hog_histogram_count(const TensorView& images, const HogCells& cells);

}  // namespace saccade::cuda
