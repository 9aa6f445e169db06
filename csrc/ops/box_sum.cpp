#include "ops/box_sum.h"

#include <algorithm>
#include <type_traits>

#include "common/parallel.h"
#include "math/box_sum.h"
#include "ops/checks.h"

namespace saccade {

void check_box_sum(const char* op, const TensorView& integral, const TensorView& boxes) {
  require(integral.ndim >= 2 && integral.size(-2) >= 1 && integral.size(-1) >= 1, op,
          ": integral must have shape (..., H + 1, W + 1), got ", shape_string(integral));
  require_type(integral.dtype == DType::kInt32 || integral.dtype == DType::kInt64 ||
                   integral.dtype == DType::kFloat32 || integral.dtype == DType::kFloat64,
               op, ": integral must be int32, int64, float32 or float64, got ", dtype_name(integral.dtype));
  require_shape(op, "boxes", boxes, "(N, 4)", {-1, 4});
  require_type(boxes.dtype == DType::kInt32 || boxes.dtype == DType::kInt64, op, ": boxes must be int32 or int64, got ",
               dtype_name(boxes.dtype));
  require_same_device(op, "integral", integral, "boxes", boxes);
}

std::vector<std::int64_t> box_sum_shape(const TensorView& integral, const TensorView& boxes) {
  std::vector<std::int64_t> shape(integral.sizes, integral.sizes + integral.ndim - 2);
  shape.push_back(boxes.size(0));
  return shape;
}

namespace {

constexpr std::int64_t kGrain = 4096;

template <class I>
Rectangle rectangle(const TensorView& boxes, std::int64_t i, std::int64_t width, std::int64_t height) {
  const I* box = boxes.ptr<I>() + i * boxes.stride(0);
  const std::int64_t step = boxes.stride(1);
  return clip_rectangle(box[0], box[step], box[2 * step], box[3 * step], width, height);
}

// The start of each image of a batch: leading dimensions may have any strides.
template <class T>
T* image_start(const TensorView& view, std::int64_t index, int trailing) {
  T* start = view.ptr<T>();
  for (std::int64_t rest = index, d = view.ndim - 1 - trailing; d >= 0; rest /= view.sizes[d], --d)
    start += rest % view.sizes[d] * view.strides[d];
  return start;
}

template <class T, class I>
void run(const TensorView& integral, const TensorView& boxes, const TensorView& sums) {
  using U = typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>, std::type_identity<T>>::type;
  const std::int64_t n = boxes.size(0), sy = integral.stride(-2), sx = integral.stride(-1);
  const std::int64_t height = integral.size(-2) - 1, width = integral.size(-1) - 1;
  parallel_for(sums.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const T* table = image_start<T>(integral, i / n, 2);
      const Rectangle r = rectangle<I>(boxes, i % n, width, height);
      const auto at = [&](std::int64_t y, std::int64_t x) { return static_cast<U>(table[y * sy + x * sx]); };
      const U sum = at(r.y2, r.x2) - at(r.y1, r.x2) - at(r.y2, r.x1) + at(r.y1, r.x1);
      sums.ptr<T>()[i] = r.x2 == 0 ? T{} : static_cast<T>(sum);  // empty, even where the corner is NaN
    }
  });
}

template <class T, class I>
void run_backward(const TensorView& grad_sums, const TensorView& boxes, const TensorView& grad_integral) {
  const std::int64_t rows = grad_integral.size(-2), columns = grad_integral.size(-1), n = boxes.size(0);
  const std::int64_t batch = grad_integral.numel() / (rows * columns);
  const std::int64_t grain = std::max<std::int64_t>(1, 8 * kGrain / (rows * columns + n));
  parallel_for(batch, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      T* table = grad_integral.ptr<T>() + b * rows * columns;
      const T* grad = image_start<T>(grad_sums, b, 1);
      std::fill_n(table, rows * columns, T{});
      for (std::int64_t i = 0; i < n; ++i) {
        const Rectangle r = rectangle<I>(boxes, i, columns - 1, rows - 1);
        if (r.x2 == 0) continue;
        const T g = grad[i * grad_sums.stride(-1)];
        table[r.y2 * columns + r.x2] += g;
        table[r.y1 * columns + r.x2] -= g;
        table[r.y2 * columns + r.x1] -= g;
        table[r.y1 * columns + r.x1] += g;
      }
    }
  });
}

template <class Body>
void dispatch_boxes(const TensorView& boxes, const Body& body) {
  boxes.dtype == DType::kInt32 ? body(std::int32_t{}) : body(std::int64_t{});
}

}  // namespace

void box_sum(const TensorView& integral, const TensorView& boxes, const TensorView& sums) {
  check_box_sum("box_sum", integral, boxes);
  dispatch_boxes(boxes, [&]<class I>(I) {
    switch (integral.dtype) {
      case DType::kInt32: return run<std::int32_t, I>(integral, boxes, sums);
      case DType::kInt64: return run<std::int64_t, I>(integral, boxes, sums);
      case DType::kFloat32: return run<float, I>(integral, boxes, sums);
      default: return run<double, I>(integral, boxes, sums);
    }
  });
}

void box_sum_backward(const TensorView& grad_sums, const TensorView& boxes, const TensorView& grad_integral) {
  if (grad_integral.numel() == 0) return;
  dispatch_boxes(boxes, [&]<class I>(I) {
    if (grad_sums.dtype == DType::kFloat32)
      run_backward<float, I>(grad_sums, boxes, grad_integral);
    else
      run_backward<double, I>(grad_sums, boxes, grad_integral);
  });
}

}  // namespace saccade
