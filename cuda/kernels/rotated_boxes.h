// Rotated boxes as the kernels of box_iou_rotated and nms_rotated take them.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/tensor_view.h"
#include "math/rotated_box.h"

namespace saccade::cuda {

// Aligned for loads of 16 bytes.
template <class A>
struct alignas(16) AlignedRotatedBox : RotatedBox<A> {};

// rows (n, 5) of any strides and any floating dtype that goes with A: float, or double for float64. In the given order
// of rows unless it is null. Sines and cosines cost as much as several pairs: once per box.
template <class A>
void launch_rotated_boxes(const TensorView& rows, const std::int64_t* order, AlignedRotatedBox<A>* boxes,
                          cudaStream_t stream);

}  // namespace saccade::cuda
