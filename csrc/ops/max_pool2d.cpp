#include "ops/max_pool2d.h"

#include "common/dispatch.h"
#include "common/large_output.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/max_pool2d.h"
#include "kernels/max_pool2d_backward.h"
#include "math/half.h"
#include "ops/checks.h"

namespace saccade {

void check_max_pool2d_backward(const TensorView& grad, const TensorView& indices, const TensorView& grad_input,
                               const WindowShape& shape) {
  const std::int64_t n = grad_input.size(0), c = grad_input.size(1);
  require_shape("max_pool2d", "grad", grad, "(N, C, out_h, out_w)", {n, c, shape.y.out, shape.x.out});
  require_shape("max_pool2d", "indices", indices, "(N, C, out_h, out_w)", {n, c, shape.y.out, shape.x.out});
  require_dtype("max_pool2d", "indices", indices, DType::kInt64);
}

namespace {

// The rows of the gradient that are summed at a time: they stay in L2. Planes that fit are read once.
constexpr std::int64_t kBandBytes = 64 << 10;

}  // namespace

void max_pool2d(const TensorView& input, const WindowShape& shape, bool minimum, const TensorView& out,
                const TensorView& indices) {
  if (out.numel() == 0) return;
  const std::int64_t n = input.size(0), c = input.size(1), cells = shape.y.in * shape.x.in;
  const std::int64_t rows = shape.y.out, width = shape.x.out;
  advise_huge_pages(out.data, out.numel() * dtype_size(out.dtype));
  if (indices.data) advise_huge_pages(indices.data, indices.numel() * sizeof(std::int64_t));
  dispatch_floating(input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const auto& kernels = max_pool2d_kernels().get<T>();
    const auto where = [&](std::int64_t offset) {
      return indices.data ? indices.ptr<std::int64_t>() + offset : nullptr;
    };
    if (input.is_contiguous()) {
      const MaxPoolRing ring = max_pool_ring(shape, indices.data != nullptr);
      parallel_for(n * c * rows, row_grain(width), [&](std::int64_t begin, std::int64_t end) {
        const Scratch<A> values(ring.values());
        const Scratch<std::int64_t> plan(ring.plan());
        for_plane_rows(begin, end, rows, rows, [&](std::int64_t plane, std::int64_t first, std::int64_t last) {
          const std::int64_t offset = plane * rows * width;
          kernels.forward_plane(input.ptr<T>() + plane * cells, shape, ring, minimum, first, last, values.data(),
                                plan.data(), out.ptr<T>() + offset, where(offset));
        });
      });
      return;
    }
    const auto columns = ranges(width, [&](std::int64_t q) { return taps_inside(shape.x, q); });
    parallel_for(n * rows, row_grain(width * c), [&](std::int64_t begin, std::int64_t end) {
      for_plane_rows(begin, end, rows, rows, [&](std::int64_t image, std::int64_t first, std::int64_t last) {
        const std::int64_t offset = image * rows * width * c;
        kernels.forward_channels(input.ptr<T>() + image * cells * c, shape, columns.data(), c, minimum, first, last,
                                 out.ptr<T>() + offset, where(offset));
      });
    });
  });
}

void max_pool2d_backward(const TensorView& grad, const TensorView& indices, const WindowShape& shape,
                         const TensorView& grad_input) {
  check_max_pool2d_backward(grad, indices, grad_input, shape);
  if (grad_input.numel() == 0) return;
  const std::int64_t n = grad_input.size(0), c = grad_input.size(1), h = shape.y.in, w = shape.x.in;
  const std::int64_t outputs = shape.y.out * shape.x.out;
  advise_huge_pages(grad_input.data, grad_input.numel() * dtype_size(grad_input.dtype));
  dispatch_floating(grad.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const auto& kernels = max_pool2d_backward_kernels().get<T>();
    const auto plane_of = [&](std::int64_t plane, const auto& kernel, auto... arguments) {
      kernel(grad.ptr<T>() + plane * outputs, indices.ptr<std::int64_t>() + plane * outputs, shape, arguments...,
             grad_input.ptr<T>() + plane * h * w);
    };
    if (grad_input.is_contiguous() && shape.y.kernel * shape.x.kernel <= kGatherTaps) {
      const MaxPoolGather gather = max_pool_gather(shape);
      parallel_for(n * c * h, row_grain(w), [&](std::int64_t begin, std::int64_t end) {
        const Scratch<A> values(gather.values());
        const Scratch<typename MaxPool2dBackwardFunctions<T>::I> where(gather.values());
        const Scratch<std::int64_t> plan(gather.plan());
        for_plane_rows(begin, end, h, h, [&](std::int64_t plane, std::int64_t first, std::int64_t last) {
          plane_of(plane, kernels.gather_plane, gather, first, last, values.data(), where.data(), plan.data());
        });
      });
      return;
    }
    if (grad_input.is_contiguous()) {
      const std::int64_t band = std::max<std::int64_t>(1, kBandBytes / static_cast<std::int64_t>(sizeof(A)) / w);
      parallel_for(n * c * h, row_grain(w), [&](std::int64_t begin, std::int64_t end) {
        const Scratch<A> sums(std::is_same_v<A, T> ? 0 : band * w);
        for_plane_rows(begin, end, h, band, [&](std::int64_t plane, std::int64_t first, std::int64_t last) {
          plane_of(plane, kernels.scatter_plane, first, last, sums.data());
        });
      });
      return;
    }
    const auto columns = ranges(w, [&](std::int64_t x) { return windows_over(shape.x, x); });
    parallel_for(n * h, row_grain(w * c), [&](std::int64_t begin, std::int64_t end) {
      for_plane_rows(begin, end, h, h, [&](std::int64_t image, std::int64_t first, std::int64_t last) {
        kernels.channels(grad.ptr<T>() + image * outputs * c, indices.ptr<std::int64_t>() + image * outputs * c, shape,
                         columns.data(), c, first, last, grad_input.ptr<T>() + image * h * w * c);
      });
    });
  });
}

}  // namespace saccade
