#include "ops/box_iou_rotated.h"

#include <algorithm>

#include "common/dispatch.h"
#include "common/parallel.h"
#include "kernels/box_iou_rotated.h"
#include "math/rotated_box.h"
#include "ops/checks.h"
#include "ops/rotated_boxes.h"

namespace saccade {
namespace {

void compute_row(const RotatedBoxes<float>& rows, std::int64_t row, const RotatedBoxes<float>& columns, float* iou) {
  box_iou_rotated_kernels().row_float(rows, row, columns, iou);
}
void compute_row(const RotatedBoxes<double>& rows, std::int64_t row, const RotatedBoxes<double>& columns, double* iou) {
  box_iou_rotated_kernels().row_double(rows, row, columns, iou);
}

}  // namespace

void check_box_iou_rotated(const TensorView& boxes1, const TensorView& boxes2) {
  const char* op = "box_iou_rotated";
  require_shape(op, "boxes1", boxes1, "(N, 5)", {-1, 5});
  require_shape(op, "boxes2", boxes2, "(M, 5)", {-1, 5});
  require_floating(op, "boxes1", boxes1);
  require_same_dtype(op, "boxes1", boxes1, "boxes2", boxes2);
  require_same_device(op, "boxes1", boxes1, "boxes2", boxes2);
}

void box_iou_rotated(const TensorView& boxes1, const TensorView& boxes2, const TensorView& iou) {
  check_box_iou_rotated(boxes1, boxes2);
  dispatch_floating(boxes1.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const PreparedRotatedBoxes<A> rows = prepare_rotated_boxes<T>(boxes1);
    const PreparedRotatedBoxes<A> columns = prepare_rotated_boxes<T>(boxes2);
    const std::int64_t m = columns.boxes.count, grain = std::max<std::int64_t>(1, 4096 / std::max<std::int64_t>(1, m));
    parallel_for(rows.boxes.count, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) compute_row(rows.boxes, i, columns.boxes, iou.ptr<A>() + i * m);
    });
  });
}

}  // namespace saccade
