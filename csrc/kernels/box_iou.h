// Kernels of box_iou (csrc/ops/box_iou.h).
#pragma once

#include <cstdint>

#include "isa/isa.h"
#include "math/box_iou.h"

namespace saccade {

// Boxes as a structure of arrays, each array readable up to a multiple of kBoxPadding boxes.
constexpr std::int64_t kBoxPadding = 16;

template <class A, class R>
struct BoxArrays {
  A *x1, *y1, *x2, *y2, *area;
  R *cx, *cy, *angle;  // null unless the kind needs them
};

template <class A, class R>
struct BoxIouTable {
  // out[i][j] = iou(rows i, columns j) for i in [begin, end); out has `columns` elements in a row, row `begin` first.
  using Forward = void (*)(const BoxArrays<A, R>& row, std::int64_t begin, std::int64_t end,
                           const BoxArrays<A, R>& column, std::int64_t columns, R eps, R* out);
  Forward forward[4];  // by BoxIouKind
};

template <class R>
struct BoxIouGradTable {
  // sum[i] = sum over j of grad[i][j] * d iou(i, j) / d(member of box i), for rows in [begin, end), begin a multiple of
  // kBoxPadding. `rows` bounds what is read of grad, whose strides are in elements.
  using Backward = void (*)(const BoxArrays<R, R>& row, std::int64_t begin, std::int64_t end, std::int64_t rows,
                            const BoxArrays<R, R>& column, std::int64_t columns, R eps, const R* grad,
                            std::int64_t row_stride, std::int64_t column_stride, const BoxArrays<R, R>& sum);
  Backward backward[4];
};

struct BoxIouKernels {
  BoxIouTable<float, float> float32;
  BoxIouTable<double, double> float64;
  BoxIouTable<double, float> integer;
  BoxIouGradTable<float> float32_grad;
  BoxIouGradTable<double> float64_grad;
};
SACCADE_KERNELS(BoxIouKernels, box_iou_kernels)

}  // namespace saccade
