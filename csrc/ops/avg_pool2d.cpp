#include "ops/avg_pool2d.h"

#include <cstring>

#include "common/dispatch.h"
#include "common/large_output.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/avg_pool2d.h"
#include "kernels/avg_pool2d_backward.h"
#include "math/half.h"
#include "ops/checks.h"

namespace saccade {

MeanShape check_avg_pool2d(const TensorView& input, const Pair& kernel_size, const Pair& stride, const Pair& padding,
                           bool ceil_mode, bool count_include_pad, std::optional<std::int64_t> divisor_override) {
  const WindowShape shape = check_pool2d("avg_pool2d", input, kernel_size, stride, padding, {1, 1}, ceil_mode);
  require(divisor_override.value_or(1) != 0, "avg_pool2d: divisor_override must not be 0, got 0");
  return {{shape.y, false, count_include_pad, divisor_override ? 1 : 0},
          {shape.x, false, count_include_pad, divisor_override.value_or(0)}};
}

namespace {

// Where the windows are equal and apart, they are sliding windows.
MeanAxis adaptive_axis(std::int64_t in, std::int64_t out) {
  if (out > 0 && in % out == 0) return {{in, out, in / out, in / out, 0, 1}, false, false, 0};
  return {{in, out, out > 0 ? std::min(in, (in + out - 1) / out + 1) : 0, 1, 0, 1}, true, false, 0};
}

}  // namespace

MeanShape check_adaptive_avg_pool2d(const TensorView& input, const Pair& output_size) {
  check_pool2d_input("adaptive_avg_pool2d", input);
  require_pair("adaptive_avg_pool2d", "output_size", output_size, 0);
  return {adaptive_axis(input.size(2), output_size[0]), adaptive_axis(input.size(3), output_size[1])};
}

void check_avg_pool2d_backward(const char* op, const TensorView& grad, const TensorView& grad_input,
                               const MeanShape& shape) {
  require_shape(op, "grad", grad, "(N, C, out_h, out_w)",
                {grad_input.size(0), grad_input.size(1), shape.y.window.out, shape.x.window.out});
}

namespace {

// One window that holds the whole plane.
bool is_whole(const MeanShape& shape) {
  const auto whole = [](const MeanAxis& axis) {
    if (axis.window.out != 1) return false;
    const WindowRange cells = cells_in(axis, 0);
    return cells.begin == 0 && cells.end == axis.window.in;
  };
  return whole(shape.y) && whole(shape.x);
}

// The same with the plane as a row.
MeanShape as_row(const MeanShape& shape) {
  const std::int64_t cells = shape.y.window.in * shape.x.window.in;
  return {{{1, 1, 1, 1, 0, 1}, false, false, 1},
          {{cells, 1, cells, cells, 0, 1}, false, false, cells_counted(shape.y, 0) * cells_counted(shape.x, 0)}};
}

constexpr std::int64_t kMostLanes = 16;
std::int64_t whole_registers(std::int64_t n) { return (n + kMostLanes - 1) / kMostLanes * kMostLanes; }

template <class A>
std::vector<A> counts_of(const MeanAxis& axis) {
  std::vector<A> counts(whole_registers(axis.window.out), A{1});
  for (std::int64_t q = 0; q < axis.window.out; ++q) counts[q] = static_cast<A>(cells_counted(axis, q));
  return counts;
}

std::vector<WindowRange> cells_of(const MeanAxis& axis) {
  return ranges(axis.window.out, [&](std::int64_t q) { return cells_in(axis, q); });
}
std::vector<WindowRange> windows_of(const MeanAxis& axis) {
  return ranges(axis.window.in, [&](std::int64_t x) { return windows_with(axis, x); });
}

// Channels that are worth a piece of their own: one window over many cells keeps several threads busy.
constexpr std::int64_t kChannels = 64;

}  // namespace

void avg_pool2d(const TensorView& input, const MeanShape& shape, const TensorView& out) {
  if (out.numel() == 0) return;
  const std::int64_t n = input.size(0), c = input.size(1);
  advise_huge_pages(out.data, out.numel() * dtype_size(out.dtype));
  dispatch_floating(input.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const auto& kernels = avg_pool2d_kernels().get<T>();
    const bool in_planes = input.is_contiguous();
    const WindowAxis &y = shape.y.window, &x = shape.x.window;
    if (in_planes && is_whole(shape)) {
      const std::int64_t cells = y.in * x.in;
      const auto divisor = static_cast<A>(cells_counted(shape.y, 0)) * static_cast<A>(cells_counted(shape.x, 0));
      parallel_for(n * c, row_grain(cells), [&](std::int64_t first, std::int64_t last) {
        kernels.whole_planes(input.ptr<T>() + first * cells, cells, divisor, last - first, out.ptr<T>() + first);
      });
      return;
    }
    const auto columns = cells_of(shape.x);
    const auto counts = counts_of<A>(shape.x);
    const MeanColumns<A> plan = {columns.data(), counts.data()};
    if (in_planes) {
      parallel_for(n * c * y.out, row_grain(y.kernel * x.in), [&](std::int64_t first, std::int64_t last) {
        const Scratch<A> row(mean_row_length(shape.x));
        kernels.planes(input.ptr<T>(), shape, plan, first, last, row.data(), out.ptr<T>());
      });
      return;
    }
    const std::int64_t blocks = (c + kChannels - 1) / kChannels;
    const std::int64_t grain = row_grain(y.kernel * x.in * std::min(c, kChannels));
    parallel_for(n * y.out * blocks, grain, [&](std::int64_t begin, std::int64_t end) {
      const Scratch<A> sums(2 * c);
      for_plane_rows(begin, end, blocks, blocks, [&](std::int64_t row, std::int64_t first, std::int64_t last) {
        const std::int64_t image = row / y.out;
        kernels.channels(input.ptr<T>() + image * y.in * x.in * c, shape, plan, c, row % y.out, first * kChannels,
                         std::min(c, last * kChannels), sums.data(), out.ptr<T>() + image * y.out * x.out * c);
      });
    });
  });
}

void avg_pool2d_backward(const TensorView& grad, const MeanShape& given, const TensorView& grad_input) {
  if (grad_input.numel() == 0) return;
  if (grad.numel() == 0) {
    std::memset(grad_input.data, 0, grad_input.numel() * dtype_size(grad_input.dtype));
    return;
  }
  const std::int64_t n = grad_input.size(0), c = grad_input.size(1);
  advise_huge_pages(grad_input.data, grad_input.numel() * dtype_size(grad_input.dtype));
  dispatch_floating(grad.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const auto& kernels = avg_pool2d_backward_kernels().get<T>();
    const bool in_planes = grad_input.is_contiguous();
    const MeanShape shape = in_planes && is_whole(given) ? as_row(given) : given;
    const WindowAxis &y = shape.y.window, &x = shape.x.window;
    const auto counts = counts_of<A>(shape.x);
    if (in_planes) {
      const auto columns = cells_of(shape.x);
      const MeanSpread spread = mean_spread(shape.x);
      parallel_for(n * c * y.in, row_grain(x.in), [&](std::int64_t first, std::int64_t last) {
        const Scratch<A> memory(spread.size());
        kernels.planes(grad.ptr<T>(), shape, columns.data(), counts.data(), first, last, memory.data(),
                       grad_input.ptr<T>());
      });
      return;
    }
    const auto over_column = windows_of(shape.x);
    std::int64_t most = 0;
    for (const WindowRange& over : windows_of(shape.y)) most = std::max(most, over.end - over.begin);
    parallel_for(n * y.in, row_grain(x.in * c), [&](std::int64_t begin, std::int64_t end) {
      const Scratch<A> inverse(most * whole_registers(x.out));
      for_plane_rows(begin, end, y.in, y.in, [&](std::int64_t image, std::int64_t first, std::int64_t last) {
        kernels.channels(grad.ptr<T>() + image * y.out * x.out * c, shape, over_column.data(), counts.data(), c, first,
                         last, inverse.data(), grad_input.ptr<T>() + image * y.in * x.in * c);
      });
    });
  });
}

}  // namespace saccade
