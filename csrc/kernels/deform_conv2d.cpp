// Each sample is up to four cells blended, every one a row of channels: a few streams for the loads, one for the store.
// Where channels lie apart (planes) they are read one by one.
#include "kernels/deform_conv2d.h"

#include "kernels/streams.h"

namespace saccade::SACCADE_ISA {
namespace {

// Calls body(i, point, mask) for results first + i, i < count.
template <class T, class Body>
SACCADE_HD void each_point(const DeformTap<T>& tap, std::int64_t first, std::int64_t count, const Body& body) {
  using A = Accumulator<T>;
  std::int64_t p = first / tap.x.out, q = first % tap.x.out;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t at = (first + i) * tap.offset_step;
    const A y = deformed_position<A>(tap.y, p, tap.i, to_float(tap.offset_y[at]));
    const A x = deformed_position<A>(tap.x, q, tap.j, to_float(tap.offset_x[at]));
    const A mask = tap.mask ? to_float(tap.mask[(first + i) * tap.mask_step]) : A(1);
    body(i, bilinear_point(y, x, tap.y.in, tap.x.in), mask);
    if (++q == tap.x.out) q = 0, ++p;
  }
}

template <class T>
SACCADE_HD T* corner_of(const DeformCells<T>& cells, std::int64_t y, std::int64_t x, int corner) {
  return cells.data + (y + corner / 2) * cells.row + (x + corner % 2) * cells.cell;
}

template <class T>
void sample(const DeformTap<T>& tap, const DeformCells<const T>& cells, std::int64_t first, std::int64_t count,
            std::int64_t channels, Accumulator<T>* out, std::int64_t pitch) {
  using A = Accumulator<T>;
  each_point(tap, first, count, [&](std::int64_t i, const BilinearPoint<A>& point, A mask) {
    A* to = out + i * pitch;
    const T* source[4];
    A weight[4];
    int corners = 0;
    for (int k = 0; k < 4; ++k) {
      if (!point.inside || !has_corner(point, k)) continue;
      source[corners] = corner_of(cells, point.y, point.x, k);
      weight[corners++] = mask * corner_weight(point, k);
    }
    if (corners == 0) {
      for (std::int64_t c = 0; c < channels; ++c) to[c] = mask * A(0);  // NaN where the mask is not finite
    } else if (cells.channel != 1) {
      for (std::int64_t c = 0; c < channels; ++c) {
        A sum = 0;
        for (int k = 0; k < corners; ++k) sum += weight[k] * to_float(source[k][c * cells.channel]);
        to[c] = sum;
      }
    } else {
      switch (corners) {
        case 1: return weighted_sum<A, 1>(source, weight, channels, to);
        case 2: return weighted_sum<A, 2>(source, weight, channels, to);
        default: return weighted_sum<A, 4>(source, weight, channels, to);
      }
    }
  });
}

template <class T>
void add_to_cells(const DeformTap<T>& tap, const DeformCells<Accumulator<T>>& cells, std::int64_t first,
                  std::int64_t count, std::int64_t channels, const Accumulator<T>* samples, std::int64_t pitch) {
  using A = Accumulator<T>;
  each_point(tap, first, count, [&](std::int64_t i, const BilinearPoint<A>& point, A mask) {
    for (int k = 0; k < 4; ++k) {
      // A weight of zero keeps a gradient that is not finite to the cells that it belongs to.
      if (!has_corner(point, k) || corner_weight(point, k) == A(0)) continue;
      add_scaled(mask * corner_weight(point, k), samples + i * pitch, channels, corner_of(cells, point.y, point.x, k));
    }
  });
}

// The sum over channels of gradient times cell.
template <class T>
SACCADE_HD Accumulator<T> product(const Accumulator<T>* gradient, const T* cell, std::int64_t step,
                                  std::int64_t channels) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  constexpr int kN = kLanes<A>;
  if (step != 1) {
    A sum = 0;
    for (std::int64_t c = 0; c < channels; ++c) sum += gradient[c] * to_float(cell[c * step]);
    return sum;
  }
  V sums[2] = {};
  std::int64_t c = 0;
  for (; c + 2 * kN <= channels; c += 2 * kN)
    for (int r = 0; r < 2; ++r)
      sums[r] = fma(load<V>(gradient + c + r * kN), load_as<A, kN>(cell + c + r * kN), sums[r]);
  for (; c < channels; c += kN) {
    const std::int64_t lanes = channels - c < kN ? channels - c : kN;
    if (lanes == kN) {
      sums[0] = fma(load<V>(gradient + c), load_as<A, kN>(cell + c), sums[0]);
    } else {
      sums[0] = fma(load_partial<V>(gradient + c, lanes), load_lanes<A, false>(cell + c, lanes), sums[0]);
    }
  }
  return reduce_add(sums[0] + sums[1]);
}

template <class T>
void differentiate(const DeformTap<T>& tap, const DeformCells<const T>& cells, std::int64_t first, std::int64_t count,
                   std::int64_t channels, const Accumulator<T>* samples, std::int64_t pitch,
                   const DeformGradients<T>& gradients) {
  using A = Accumulator<T>;
  each_point(tap, first, count, [&](std::int64_t i, const BilinearPoint<A>& point, A mask) {
    A products[4] = {};
    for (int k = 0; k < 4; ++k)
      if (has_corner(point, k))
        products[k] = product(samples + i * pitch, corner_of(cells, point.y, point.x, k), cells.channel, channels);
    const DeformGradient<A> gradient = deform_gradient(point, mask, products);
    if (gradients.y) {
      gradients.y[(first + i) * tap.offset_step] = from_float<T>(gradient.y);
      gradients.x[(first + i) * tap.offset_step] = from_float<T>(gradient.x);
    }
    if (gradients.mask) gradients.mask[(first + i) * tap.mask_step] = from_float<T>(gradient.mask);
  });
}

template <class T>
constexpr DeformFunctions<T> functions() {
  return {sample<T>, add_to_cells<T>, differentiate<T>};
}

}  // namespace

const DeformConv2dKernels deform_conv2d_kernels = {functions<Float16>(), functions<BFloat16>(), functions<float>(),
                                                   functions<double>()};

}  // namespace saccade::SACCADE_ISA
