#include "ops/box_iou.h"

#include <algorithm>

#include "common/dispatch.h"
#include "common/large_output.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/box_iou.h"
#include "math/half.h"
#include "ops/checks.h"

namespace saccade {

namespace {

const char* name_of(BoxIouKind kind) {
  switch (kind) {
    case BoxIouKind::kGeneralized: return "generalized_box_iou";
    case BoxIouKind::kDistance: return "distance_box_iou";
    case BoxIouKind::kComplete: return "complete_box_iou";
    case BoxIouKind::kIou: break;
  }
  return "box_iou";
}

bool is_integer(DType dtype) {
  return dtype == DType::kUInt8 || dtype == DType::kInt8 || dtype == DType::kInt16 || dtype == DType::kInt32 ||
         dtype == DType::kInt64;
}

void check_boxes(const char* op, const char* name, const TensorView& boxes) {
  require(boxes.ndim >= 2 && boxes.size(-1) == 4, op, ": ", name, " must have shape (..., N, 4), got ",
          shape_string(boxes));
  require_type(is_floating(boxes.dtype) || is_integer(boxes.dtype), op, ": ", name,
               " must be of a floating or an integer dtype, got ", dtype_name(boxes.dtype));
}

std::int64_t batch_size(const TensorView& view) {
  std::int64_t batch = 1;
  for (int d = 0; d < view.ndim - 2; ++d) batch *= view.sizes[d];
  return batch;
}

// Where the matrix of batch index b begins, in elements.
std::int64_t batch_offset(const TensorView& view, std::int64_t b) {
  std::int64_t offset = 0;
  for (int d = view.ndim - 3; d >= 0; --d) {
    offset += b % view.sizes[d] * view.strides[d];
    b /= view.sizes[d];
  }
  return offset;
}

std::int64_t padded(std::int64_t count) { return (count + kBoxPadding - 1) / kBoxPadding * kBoxPadding; }

// All boxes of one argument, batch after batch, each batch padded with zeros.
template <class A, class R>
class PreparedBoxes {
 public:
  PreparedBoxes(std::int64_t batch, std::int64_t count)
      : count_(count),
        stride_(padded(count)),
        coordinates_(static_cast<std::size_t>(5 * batch * stride_)),
        extras_(static_cast<std::size_t>(3 * batch * stride_)),
        all_(arrays(coordinates_.data(), extras_.data(), batch * stride_)) {}

  BoxArrays<A, R> of_batch(std::int64_t b) const {
    const std::int64_t at = b * stride_;
    return {all_.x1 + at,   all_.y1 + at, all_.x2 + at, all_.y2 + at,
            all_.area + at, all_.cx + at, all_.cy + at, all_.angle + at};
  }

  // With the padding: batch b begins at b * stride.
  std::int64_t stride() const { return stride_; }

  // Prepares positions [begin, end) of all batches in a row.
  template <class T>
  void fill(const TensorView& boxes, std::int64_t begin, std::int64_t end, const BoxIouOptions& options) const {
    const std::int64_t step = boxes.stride(-1);
    while (begin < end) {
      const std::int64_t b = begin / stride_, first = begin % stride_, stop = std::min(stride_, first + end - begin);
      const T* batch = boxes.ptr<T>() + batch_offset(boxes, b);
      const BoxArrays<A, R> to = of_batch(b);
      std::int64_t i = first;
      for (; i < std::min(stop, count_); ++i) {
        const T* p = batch + i * boxes.stride(-2);
        set(to, i, value(p[0]), value(p[step]), value(p[2 * step]), value(p[3 * step]), options);
      }
      for (; i < stop; ++i) set(to, i, 0, 0, 0, 0, options);
      begin += stop - first;
    }
  }

 private:
  template <class T>
  static A value(T x) {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<A>(x);
    } else {
      return static_cast<A>(to_float(x));
    }
  }

  static BoxArrays<A, R> arrays(A* a, R* r, std::int64_t n) {
    return {a, a + n, a + 2 * n, a + 3 * n, a + 4 * n, r, r + n, r + 2 * n};
  }

  static void set(const BoxArrays<A, R>& to, std::int64_t i, A p, A q, A r, A s, const BoxIouOptions& options) {
    const PairBox<A, R> box = pair_box<R>(p, q, r, s, options.kind, options.format);
    to.x1[i] = box.x1, to.y1[i] = box.y1, to.x2[i] = box.x2, to.y2[i] = box.y2, to.area[i] = box.area;
    to.cx[i] = box.cx, to.cy[i] = box.cy, to.angle[i] = box.angle;
  }

  std::int64_t count_, stride_;
  Scratch<A> coordinates_;
  Scratch<R> extras_;
  BoxArrays<A, R> all_;
};

template <class T, class A, class R>
PreparedBoxes<A, R> prepare(const TensorView& boxes, const BoxIouOptions& options) {
  const std::int64_t batch = batch_size(boxes);
  PreparedBoxes<A, R> result(batch, boxes.size(-2));
  parallel_for(batch * result.stride(), 4096,
               [&](std::int64_t begin, std::int64_t end) { result.template fill<T>(boxes, begin, end, options); });
  return result;
}

template <class T, class A, class R>
void forward(const BoxIouTable<A, R>& kernels, const TensorView& boxes1, const TensorView& boxes2,
             const BoxIouOptions& options, const TensorView& out) {
  const std::int64_t n = boxes1.size(-2), m = boxes2.size(-2);
  const auto first = prepare<T, A, R>(boxes1, options), second = prepare<T, A, R>(boxes2, options);
  const auto kernel = kernels.forward[static_cast<int>(options.kind)];
  advise_huge_pages(out.data, static_cast<std::size_t>(out.numel()) * sizeof(R));
  // About 10 us of work for a thread at least.
  parallel_for(batch_size(boxes1) * n, 1 + 16384 / (m + 1), [&](std::int64_t begin, std::int64_t end) {
    while (begin < end) {
      const std::int64_t b = begin / n, row = begin % n, stop = std::min(n, row + end - begin);
      kernel(first.of_batch(b), row, stop, second.of_batch(b), m, static_cast<R>(options.eps),
             out.ptr<R>() + begin * m);
      begin += stop - row;
    }
  });
}

template <class T, class R>
void store_gradient(const BoxArrays<R, R>& boxes, const BoxArrays<R, R>& sums, std::int64_t i,
                    const BoxIouOptions& options, T* to) {
  const auto at = [i](const BoxArrays<R, R>& from) {
    return PairBox<R, R>{from.x1[i],   from.y1[i], from.x2[i], from.y2[i],
                         from.area[i], from.cx[i], from.cy[i], from.angle[i]};
  };
  R grad[4];
  box_gradient(at(boxes), at(sums), options.kind, options.format, grad);
  for (int c = 0; c < 4; ++c) to[c] = from_float<T>(grad[c]);
}

template <class T, class R>
void backward(const BoxIouGradTable<R>& kernels, const TensorView& grad, const TensorView& boxes1,
              const TensorView& boxes2, const BoxIouOptions& options, const TensorView& grad_boxes1) {
  const std::int64_t n = boxes1.size(-2), m = boxes2.size(-2), blocks = padded(n) / kBoxPadding;
  const auto first = prepare<T, R, R>(boxes1, options), second = prepare<T, R, R>(boxes2, options);
  const PreparedBoxes<R, R> sums(batch_size(boxes1), n);
  const auto kernel = kernels.backward[static_cast<int>(options.kind)];
  parallel_for(batch_size(boxes1) * blocks, 1 + 512 / (m + 1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t b = block / blocks, row = block % blocks * kBoxPadding;
      const BoxArrays<R, R> box = first.of_batch(b), sum = sums.of_batch(b);
      kernel(box, row, row + kBoxPadding, n, second.of_batch(b), m, static_cast<R>(options.eps),
             grad.ptr<R>() + batch_offset(grad, b), grad.stride(-2), grad.stride(-1), sum);
      for (std::int64_t i = row; i < std::min(n, row + kBoxPadding); ++i)
        store_gradient(box, sum, i, options, grad_boxes1.ptr<T>() + (b * n + i) * 4);
    }
  });
}

}  // namespace

BoxIouOptions box_iou_options(std::int64_t kind, std::int64_t format, double eps) {
  require(kind >= 0 && kind <= 3, "box_iou: kind must be 0 to 3, got ", kind);
  require(format >= 0 && format <= 2, "box_iou: format must be 0 to 2, got ", format);
  require(format == 0 || kind == 0, "box_iou: format must be 0 unless kind is 0, got ", format);
  return {static_cast<BoxIouKind>(kind), static_cast<BoxFormat>(format), eps};
}

void check_box_iou(const TensorView& boxes1, const TensorView& boxes2, const BoxIouOptions& options) {
  const char* op = name_of(options.kind);
  check_boxes(op, "boxes1", boxes1);
  check_boxes(op, "boxes2", boxes2);
  require_same_dtype(op, "boxes1", boxes1, "boxes2", boxes2);
  require_same_device(op, "boxes1", boxes1, "boxes2", boxes2);
  bool same = boxes1.ndim == boxes2.ndim;
  for (int d = 0; same && d < boxes1.ndim - 2; ++d) same = boxes1.sizes[d] == boxes2.sizes[d];
  require(same, op, ": boxes1 and boxes2 must have the same leading dimensions, got ", shape_string(boxes1), " and ",
          shape_string(boxes2));
}

std::vector<std::int64_t> box_iou_shape(const TensorView& boxes1, const TensorView& boxes2) {
  std::vector<std::int64_t> shape(boxes1.sizes, boxes1.sizes + boxes1.ndim - 1);
  shape.push_back(boxes2.size(-2));
  return shape;
}

DType box_iou_dtype(DType boxes) { return boxes == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32; }

void box_iou(const TensorView& boxes1, const TensorView& boxes2, const BoxIouOptions& options, const TensorView& out) {
  if (out.numel() == 0) return;
  const BoxIouKernels& kernels = box_iou_kernels();
  auto integer = [&](auto tag) {
    forward<typename decltype(tag)::type>(kernels.integer, boxes1, boxes2, options, out);
  };
  switch (boxes1.dtype) {
    case DType::kUInt8: return integer(TypeTag<std::uint8_t>{});
    case DType::kInt8: return integer(TypeTag<std::int8_t>{});
    case DType::kInt16: return integer(TypeTag<std::int16_t>{});
    case DType::kInt32: return integer(TypeTag<std::int32_t>{});
    case DType::kInt64: return integer(TypeTag<std::int64_t>{});
    case DType::kFloat64: return forward<double>(kernels.float64, boxes1, boxes2, options, out);
    case DType::kFloat16: return forward<Float16>(kernels.float32, boxes1, boxes2, options, out);
    case DType::kBFloat16: return forward<BFloat16>(kernels.float32, boxes1, boxes2, options, out);
    default: return forward<float>(kernels.float32, boxes1, boxes2, options, out);
  }
}

void check_box_iou_backward(const TensorView& grad, const TensorView& boxes1, const TensorView& boxes2,
                            const BoxIouOptions& options) {
  check_box_iou(boxes1, boxes2, options);
  const char* op = "_box_iou_backward";
  require_floating(op, "boxes1", boxes1);
  require_dtype(op, "grad", grad, box_iou_dtype(boxes1.dtype));
  require_same_device(op, "grad", grad, "boxes1", boxes1);
  const std::vector<std::int64_t> shape = box_iou_shape(boxes1, boxes2);
  require(std::vector<std::int64_t>(grad.sizes, grad.sizes + grad.ndim) == shape, op,
          ": grad must have the shape of the result, got ", shape_string(grad));
}

void box_iou_backward(const TensorView& grad, const TensorView& boxes1, const TensorView& boxes2,
                      const BoxIouOptions& options, const TensorView& grad_boxes1) {
  if (grad_boxes1.numel() == 0) return;
  const BoxIouKernels& kernels = box_iou_kernels();
  dispatch_floating(boxes1.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<T, double>) {
      backward<T>(kernels.float64_grad, grad, boxes1, boxes2, options, grad_boxes1);
    } else {
      backward<T>(kernels.float32_grad, grad, boxes1, boxes2, options, grad_boxes1);
    }
  });
}

}  // namespace saccade
