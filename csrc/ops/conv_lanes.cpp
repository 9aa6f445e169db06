#include "ops/conv_lanes.h"

#include "common/dispatch.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/conv_depthwise.h"
#include "math/half.h"
#include "ops/conv_panels.h"

namespace saccade {
namespace {

template <class T>
std::int64_t lanes_of() {
  return conv_lanes_kernels().get<T>().lanes;
}
// Where the cells lie that the results of one row need: the smallest taps, how many rows and columns the taps span, and
// the columns that all results of the row need.
struct Reach {
  std::int64_t low_y, low_x, height, width, pitch;
};
Reach reach_of(const ConvGrid& grid) {
  if (grid.taps == 0) return {0, 0, 0, 0, 0};
  const auto [low_y, high_y] = std::minmax_element(grid.tap_y, grid.tap_y + grid.taps);
  const auto [low_x, high_x] = std::minmax_element(grid.tap_x, grid.tap_x + grid.taps);
  const std::int64_t width = *high_x - *low_x + 1;
  return {*low_y, *low_x, *high_y - *low_y + 1, width, (grid.columns - 1) * grid.step_x + width};
}

// The side of a square of neighbouring taps, in order, that the kernels know; or 0.
int square(const ConvGrid& grid) {
  for (const int side : {3, 5, 7}) {
    if (grid.taps != side * side) continue;
    for (std::int64_t t = 0; t < grid.taps; ++t)
      if (grid.tap_y[t] != grid.tap_y[0] + t / side || grid.tap_x[t] != grid.tap_x[0] + t % side) return 0;
    return side;
  }
  return 0;
}

constexpr std::int64_t kStrip = 2048;  // registers of a strip's cells: they stay in L2 beside the outputs

// Whether a strip need not be much larger than its results. Packed weights serve images of all sizes: this may not
// depend on theirs.
bool close_together(const ConvGrid& grid) {
  constexpr std::int64_t kFar = 64;
  const Reach reach = reach_of(grid);
  return reach.height <= kFar && reach.width <= kFar;
}

std::int64_t registers(std::int64_t channels, std::int64_t lanes) { return (channels + lanes - 1) / lanes; }

// Calls body(place in the packed order, place in the weights) for every weight; groups of as many outs as channels.
template <class Body>
void for_each_weight(const ConvProblem& problem, const ConvWeights& weights, std::int64_t lanes, std::int64_t first,
                     std::int64_t last, const Body& body) {
  const std::int64_t group = problem.outs();
  for (std::int64_t n = first; n < last; ++n)
    for (std::int64_t t = 0; t < problem.grid.taps; ++t)
      for (std::int64_t c = 0; c < group; ++c)
        body(((n / lanes * problem.grid.taps + t) * group + c) * lanes + n % lanes,
             n / group * weights.group_step + n % group * weights.n_step + c * weights.c_step + weights.taps[t]);
}

}  // namespace

bool conv_lanes_serve(const ConvProblem& problem, DType dtype) {
  const std::int64_t group = problem.outs(),
                     lanes =
                         dispatch_floating(dtype, [](auto tag) { return lanes_of<typename decltype(tag)::type>(); });
  return problem.rows && problem.groups > 1 && problem.channels == problem.out_channels && group < lanes &&
         (group == 1 || group == 2 || group == 4 || group == 8) && close_together(problem.grid);
}

std::int64_t conv_lanes_packed_size(const ConvProblem& problem, DType dtype) {
  return dispatch_floating(dtype, [&](auto tag) {
    const std::int64_t lanes = lanes_of<typename decltype(tag)::type>();
    return registers(problem.channels, lanes) * lanes * problem.outs() * problem.grid.taps;
  });
}

void conv_lanes_pack(const ConvProblem& problem, const ConvWeights& weights, void* packed) {
  dispatch_floating(weights.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    A* to = static_cast<A*>(packed);
    std::fill(to, to + conv_lanes_packed_size(problem, weights.dtype), A(0));
    for_each_weight(problem, weights, lanes_of<T>(), 0, problem.channels, [&](std::int64_t place, std::int64_t at) {
      to[place] = to_float(static_cast<const T*>(weights.data)[at]);
    });
  });
}

void conv_lanes(const ConvProblem& problem, const TensorView& source, const void* packed, const ConvAffine& affine,
                const TensorView& out) {
  const ConvGrid& grid = problem.grid;
  dispatch_floating(source.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const auto& kernels = conv_lanes_kernels().get<T>();
    const Reach reach = reach_of(grid);
    const int side = square(grid);
    const auto of_image = [&](std::int64_t image) -> ConvLanes<T> {
      const std::int64_t plane = image * grid.out_h * grid.out_w * problem.channels;
      return {&grid,
              problem.channels,
              problem.outs(),
              reach.low_y,
              reach.low_x,
              reach.height,
              reach.pitch,
              side,
              source.ptr<const T>() + image * grid.source_h * grid.source_w * problem.channels,
              static_cast<const A*>(packed),
              static_cast<const A*>(affine.scale),
              static_cast<const A*>(affine.shift),
              affine.residual ? affine.residual->ptr<const T>() + plane : nullptr,
              out.ptr<T>() + plane,
              affine.activation};
    };
    if (problem.outs() == 1 && side > 0 && grid.step_y == grid.step_x && grid.step_y <= 2) {
      constexpr std::int64_t kRows = 2;  // of a tile
      const auto depthwise = conv_depthwise_kernels().get<T>();
      const std::int64_t bands = (grid.rows + kRows - 1) / kRows,
                         work = kRows * grid.columns * grid.taps * problem.channels / 8;
      return parallel_for(problem.images * bands, conv_grain(work), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t first = i % bands * kRows;
          depthwise(of_image(i / bands), first, std::min(first + kRows, grid.rows));
        }
      });
    }
    const std::int64_t row = std::max<std::int64_t>(1, grid.step_y * reach.pitch);
    const std::int64_t most = std::max<std::int64_t>(1, (kStrip - reach.height * reach.pitch) / row + 1);
    const std::int64_t strips = (grid.rows + most - 1) / most, rows = (grid.rows + strips - 1) / strips;
    const std::int64_t slices = registers(problem.channels, kernels.lanes);
    const std::int64_t work = rows * grid.columns * grid.taps * problem.outs() * kernels.lanes / 8;
    parallel_for(problem.images * strips * slices, conv_grain(work), [&](std::int64_t begin, std::int64_t end) {
      const Scratch<A> cells(((rows - 1) * grid.step_y + reach.height) * reach.pitch * kernels.lanes);
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t slice = i % slices, strip = i / slices % strips;
        kernels.strip(of_image(i / slices / strips), slice * kernels.lanes, strip * rows,
                      std::min(rows, grid.rows - strip * rows), cells.data());
      }
    });
  });
}

void conv_lanes_weight_gradient(const ConvProblem& problem, const TensorView& source, const TensorView& results,
                                const ConvWeights& layout, void* gradient) {
  dispatch_floating(source.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const auto& kernels = conv_lanes_kernels().get<T>();
    const std::int64_t lanes = kernels.lanes, group = problem.outs();
    const ConvLanesGradient<T> c = {&problem.grid,  problem.channels,      group,
                                    problem.images, source.ptr<const T>(), results.ptr<const T>()};
    parallel_for(registers(problem.channels, lanes), 1, [&](std::int64_t begin, std::int64_t end) {
      const Scratch<A> sums(problem.grid.taps * group * lanes);
      for (std::int64_t i = begin; i < end; ++i) {
        kernels.gradient(c, i * lanes, sums.data());
        const std::int64_t base = i * lanes * group * problem.grid.taps;
        for_each_weight(
            problem, layout, lanes, i * lanes, std::min(problem.channels, (i + 1) * lanes),
            [&](std::int64_t place, std::int64_t at) { static_cast<A*>(gradient)[at] = sums[place - base]; });
      }
    });
  });
}

}  // namespace saccade
