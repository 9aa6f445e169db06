// Means over windows: avg_pool2d (sliding windows) and adaptive_avg_pool2d (as many windows as are asked for).
//
// input (n, c, h, w), contiguous or channels_last; output (n, c, out_h, out_w) in the same memory format:
//   output[p, q] = sum over the cells of window (p, q) / (count_y[p] * count_x[q])
// Semantics of torch.nn.functional: a sliding window counts the cells that exist, with count_include_pad those of the
// padding too, but none beyond it (ceil_mode); divisor_override replaces the count. Adaptive: along each axis window p
// holds the cells [floor(p * in / out), ceil((p + 1) * in / out)); out may be 0. Halves are added up in float32. A
// thread owns whole outputs and the order of every sum is fixed. NaN and infinity spread as the sum says.
#pragma once

#include <optional>

#include "math/mean_windows.h"
#include "ops/pool2d.h"

namespace saccade {

MeanShape check_avg_pool2d(const TensorView& input, const Pair& kernel_size, const Pair& stride, const Pair& padding,
                           bool ceil_mode, bool count_include_pad, std::optional<std::int64_t> divisor_override);
MeanShape check_adaptive_avg_pool2d(const TensorView& input, const Pair& output_size);

// All views in one memory format.
void avg_pool2d(const TensorView& input, const MeanShape& shape, const TensorView& out);

// Every element of grad_input is written: the sum of grad * (1 / count) over the windows of its cell.
void check_avg_pool2d_backward(const char* op, const TensorView& grad, const TensorView& grad_input,
                               const MeanShape& shape);
void avg_pool2d_backward(const TensorView& grad, const MeanShape& shape, const TensorView& grad_input);

}  // namespace saccade
