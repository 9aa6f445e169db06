// Pairwise intersection over union of two sets of boxes, and its generalized, distance and complete forms.
//
// boxes1 (..., n, 4) and boxes2 (..., m, 4), equal leading dimensions (strides may be 0), one dtype; out (..., n, m)
// dense. Formulas: math/box_iou.h. Formats: corners x1 y1 x2 y2; corner and size x y w h; centre and size cx cy w h
// (plain IoU only). dtypes: float32 and float64 in their own precision; halves are read as float32 and give float32;
// integers are computed exactly in float64 and rounded to float32 before each quotient, so that nothing wraps around;
// they give float32. 0 / 0 is NaN (two empty boxes), and NaN in a box gives NaN in all its pairs.
#pragma once

#include <cstdint>
#include <vector>

#include "common/tensor_view.h"
#include "math/box_iou.h"

namespace saccade {

struct BoxIouOptions {
  BoxIouKind kind = BoxIouKind::kIou;
  BoxFormat format = BoxFormat::kXyxy;
  double eps = 0;
};

// From the numbers that the bindings pass; throws ValueError.
BoxIouOptions box_iou_options(std::int64_t kind, std::int64_t format, double eps);

void check_box_iou(const TensorView& boxes1, const TensorView& boxes2, const BoxIouOptions& options);

std::vector<std::int64_t> box_iou_shape(const TensorView& boxes1, const TensorView& boxes2);
DType box_iou_dtype(DType boxes);

void box_iou(const TensorView& boxes1, const TensorView& boxes2, const BoxIouOptions& options, const TensorView& out);

// grad (..., n, m) of any strides, dtype of the forward's result -> grad_boxes1 (..., n, 4), dense, dtype of the boxes.
// By symmetry the gradient of boxes2 is the same call with the sets exchanged and grad transposed.
void check_box_iou_backward(const TensorView& grad, const TensorView& boxes1, const TensorView& boxes2,
                            const BoxIouOptions& options);
void box_iou_backward(const TensorView& grad, const TensorView& boxes1, const TensorView& boxes2,
                      const BoxIouOptions& options, const TensorView& grad_boxes1);

}  // namespace saccade
