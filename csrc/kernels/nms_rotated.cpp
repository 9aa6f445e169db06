#include "kernels/nms_rotated.h"

#include "kernels/rotated_lanes.h"

namespace saccade::SACCADE_ISA {
namespace {

// Greedy suppression, forwards: each kept box compares itself with all later ones, a register at a time; the integral
// is computed only where some circle around a box is met.
template <class T>
std::int64_t suppress(const RotatedBoxes<T>& boxes, T threshold, std::int64_t max_output, std::uint32_t* kept) {
  using V = Vec<T>;
  const T done = static_cast<T>(-__builtin_inf());
  const V gone = splat<V>(done);
  std::int64_t count = 0;
  for (std::int64_t r = 0; r < boxes.count; ++r) {
    if (boxes.radius[r] == done) continue;
    kept[count++] = static_cast<std::uint32_t>(r);
    if (count == max_output) break;
    const RotatedBox<V> p = splat_rotated(boxes, r);
    for (std::int64_t j = r + 1; j < boxes.count; j += kLanes<T>) {
      const RotatedBox<V> q = load_rotated(boxes, j);
      const Mask<V> left = q.radius != gone, far = rotated_far(p, q);
      if (!any(left & ~far) && !(threshold < 0)) continue;  // below zero disjoint boxes suppress each other too
      const V iou = far ? V{} : rotated_iou(p, q);
      store(boxes.radius + j, left & (iou > threshold) ? gone : q.radius);
    }
  }
  return count;
}

}  // namespace

const NmsRotatedKernels nms_rotated_kernels = {suppress<float>, suppress<double>};

}  // namespace saccade::SACCADE_ISA
