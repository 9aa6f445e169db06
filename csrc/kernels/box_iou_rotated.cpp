#include "kernels/box_iou_rotated.h"

#include "kernels/rotated_lanes.h"

namespace saccade::SACCADE_ISA {
namespace {

// Lanes are columns. A register of boxes that are all too far away, the usual case, skips the integral.
template <class T>
void row(const RotatedBoxes<T>& rows, std::int64_t row, const RotatedBoxes<T>& columns, T* iou) {
  using V = Vec<T>;
  const RotatedBox<V> p = splat_rotated(rows, row);
  for (std::int64_t j = 0; j < columns.count; j += kLanes<T>) {
    const RotatedBox<V> q = load_rotated(columns, j);
    const Mask<V> far = rotated_far(p, q);
    V result{};
    if (any(~far)) result = far ? V{} : rotated_iou(p, q);
    if (columns.count - j >= kLanes<T>)
      store(iou + j, result);
    else
      store_partial(iou + j, result, columns.count - j);
  }
}

}  // namespace

const BoxIouRotatedKernels box_iou_rotated_kernels = {row<float>, row<double>};

}  // namespace saccade::SACCADE_ISA
