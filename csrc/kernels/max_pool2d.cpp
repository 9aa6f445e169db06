// Planes, forward. Without indices: the rows of a window first, straight from the input (kernel_h loads for each
// column, whatever the stride), their maxima padded and sorted by phase into one row of L1, then the columns (kernel_w
// loads for each output): of equal maxima a separable maximum may return the other zero's sign, nothing else. With
// indices: padded and sorted rows are kept in a ring, and every output sees its window in row order, lanes being
// neighbouring outputs. Channels innermost: lanes are channels, four registers a time.
//
// Floor for 64 x 112 x 112 with 3 x 3, stride 2: 3.2 MB in, 0.8 MB out, 1.6 MB of indices.
#include "kernels/max_pool2d.h"

#include <limits>

#include "kernels/streams.h"

namespace saccade::SACCADE_ISA {
namespace {

template <class A>
constexpr A kLowest = -std::numeric_limits<A>::infinity();

// Negated where `sign` has the sign bit: the maximum becomes the minimum.
template <class V>
SACCADE_HD V flip(V v, Mask<V> sign) {
  return (V)((Mask<V>)v ^ sign);
}
template <class A>
SACCADE_HD Vec<Index<A>> sign_of(bool minimum) {
  return Vec<Index<A>>{} + (minimum ? std::numeric_limits<Index<A>>::min() : Index<A>(0));
}

// Whether a candidate replaces the best so far: a NaN always does, nothing but a NaN replaces it.
template <class V>
SACCADE_HD Mask<V> wins(V candidate, V best) {
  return (candidate > best) | (candidate != candidate);
}
template <class V>
SACCADE_HD V maximum(V candidate, V best) {
  const V larger = max(candidate, best);
  return candidate != candidate ? candidate : larger;
}

template <class A>
SACCADE_HD void store_indices(std::int64_t* p, Vec<Index<A>> where, std::int64_t n) {
  constexpr int kN = kLanes<A>;
  const auto wide = __builtin_convertvector(where, Vec<std::int64_t, kN>);
  std::memcpy(p, &wide, static_cast<std::size_t>(n) * sizeof(std::int64_t));
}

// Column x of the plane goes to slot(row, x % stride)[x / stride].
template <class A>
struct PhaseRow {
  A* base;
  std::int64_t phase, stride, padding;
};
template <class A>
SACCADE_HD A* slot(const PhaseRow<A>& row, std::int64_t remainder) {
  const std::int64_t padded = row.padding + remainder;
  return row.base + padded % row.stride * row.phase + padded / row.stride;
}

// The maximum of `count` rows, `step` apart, into a padded row; stride 1 and 2 without a scalar instruction per column.
template <class T, class A>
SACCADE_HD void fold_rows(const T* rows, std::int64_t step, std::int64_t count, Vec<Index<A>> sign,
                          std::int64_t columns, const PhaseRow<A>& to) {
  constexpr int kN = kLanes<A>;
  using V = Vec<A>;
  const auto fold = [&](std::int64_t x, auto whole, std::int64_t lanes) {
    V best = flip(load_lanes<A, whole()>(rows + x, lanes), sign);
    for (std::int64_t i = 1; i < count; ++i)
      best = maximum(flip(load_lanes<A, whole()>(rows + i * step + x, lanes), sign), best);
    return best;
  };
  A lanes[kN];
  std::int64_t x = 0;
  if (to.stride == 1) {
    A* even = slot(to, 0);
    for (; x + kN <= columns; x += kN) store(even + x, fold(x, std::true_type{}, kN));
  } else if (to.stride == 2) {
    A *even = slot(to, 0), *odd = slot(to, 1);
    for (; x + 2 * kN <= columns; x += 2 * kN) {
      const V a = fold(x, std::true_type{}, kN), b = fold(x + kN, std::true_type{}, kN);
      store(even + x / 2, every_second<0>(a, b));
      store(odd + x / 2, every_second<1>(a, b));
    }
  }
  for (; x < columns; x += kN) {
    const std::int64_t n = columns - x < kN ? columns - x : kN;
    store(lanes, n == kN ? fold(x, std::true_type{}, kN) : fold(x, std::false_type{}, n));
    for (std::int64_t i = 0; i < n; ++i) slot(to, (x + i) % to.stride)[(x + i) / to.stride] = lanes[i];
  }
}

// One row of outputs from a row of column maxima.
template <class T, class A>
SACCADE_HD void fold_columns(const A* row, const std::int64_t* offsets, std::int64_t taps, Vec<Index<A>> sign,
                             std::int64_t width, T* out) {
  constexpr int kN = kLanes<A>;
  for (std::int64_t q = 0; q < width; q += kN) {
    auto best = load<Vec<A>>(row + offsets[0] + q);
    for (std::int64_t j = 1; j < taps; ++j) best = maximum(load<Vec<A>>(row + offsets[j] + q), best);
    best = flip(best, sign);
    if (q + kN <= width) {
      store_lanes<A, true>(out + q, best, kN);
    } else {
      store_lanes<A, false>(out + q, best, width - q);
    }
  }
}

// One row of outputs and where they are. rows: where each of the window's rows begins in `values`; cells: the index of
// its tap in column 0 of the padded plane. A window of -inf alone has replaced nothing: its index is its first cell's.
template <class T, class A>
SACCADE_HD void indexed_row(const A* values, const WindowShape& shape, std::int64_t p, WindowRange taps,
                            const std::int64_t* rows, const std::int64_t* offsets, Vec<Index<A>> sign, T* out,
                            std::int64_t* indices) {
  constexpr int kN = kLanes<A>;
  using I = Vec<Index<A>>;
  constexpr auto kNone = std::numeric_limits<Index<A>>::min();
  const std::int64_t width = shape.x.out;
  const I step = iota<I>() * static_cast<Index<A>>(shape.x.stride);
  for (std::int64_t q = 0; q < width; q += kN) {
    auto best = splat<Vec<A>>(kLowest<A>);
    I where = I{} + kNone;
    for (std::int64_t i = taps.begin; i < taps.end; ++i) {
      const A* row = values + rows[i] + q;
      auto cell = static_cast<Index<A>>((window_start(shape.y, p) + i * shape.y.dilation) * shape.x.in);
      for (std::int64_t j = 0; j < shape.x.kernel; ++j, cell += static_cast<Index<A>>(shape.x.dilation)) {
        const auto candidate = load<Vec<A>>(row + offsets[j]);
        const auto better = wins(candidate, best);
        best = better ? candidate : best;
        where = better ? I{} + cell : where;
      }
    }
    const std::int64_t n = width - q < kN ? width - q : kN;
    const std::uint64_t unset = mask_bits(where == kNone) & ((std::uint64_t{1} << n) - 1);
    // kNone plus a negative start would overflow.
    const I found = where == kNone ? I{} : where;
    store_indices<A>(indices + q, found + step + static_cast<Index<A>>(window_start(shape.x, q)), n);
    for (std::uint64_t bits = unset; bits != 0; bits &= bits - 1) {
      const std::int64_t lane = __builtin_ctzll(bits);
      indices[q + lane] = first_cell(shape, p, q + lane, taps, taps_inside(shape.x, q + lane));
    }
    best = flip(best, sign);
    if (n == kN) {
      store_lanes<A, true>(out + q, best, kN);
    } else {
      store_lanes<A, false>(out + q, best, n);
    }
  }
}

template <class T, class A = Accumulator<T>>
void forward_plane(const T* input, const WindowShape& shape, const MaxPoolRing& ring, bool minimum, std::int64_t first,
                   std::int64_t last, A* values, std::int64_t* plan, T* out, std::int64_t* indices) {
  const WindowAxis &y = shape.y, &x = shape.x;
  std::int64_t *held = plan, *rows = held + ring.rows, *offsets = rows + ring.taps_y;
  for (std::int64_t i = 0; i < ring.values(); ++i) values[i] = kLowest<A>;
  for (std::int64_t i = 0; i < ring.rows; ++i) held[i] = -1;
  for (std::int64_t j = 0; j < x.kernel; ++j)
    offsets[j] = j * x.dilation % x.stride * ring.phase + j * x.dilation / x.stride;
  // Columns behind the last window have no place in the row.
  const std::int64_t columns = x.in < ring.row - x.padding ? x.in : ring.row - x.padding;
  const auto sign = sign_of<A>(minimum);
  for (std::int64_t p = first; p < last; ++p) {
    const std::int64_t start = window_start(y, p);
    const WindowRange taps = taps_inside(y, p);
    T* to = out + p * x.out;
    if (indices == nullptr) {
      const std::int64_t top = start + taps.begin * y.dilation, count = taps.end - taps.begin;
      if (count > 0) {
        fold_rows(input + top * x.in, y.dilation * x.in, count, sign, columns,
                  PhaseRow<A>{values, ring.phase, x.stride, x.padding});
      } else {
        for (std::int64_t i = 0; i < ring.values(); ++i) values[i] = kLowest<A>;
      }
      fold_columns(values, offsets, x.kernel, sign, x.out, to);
      continue;
    }
    for (std::int64_t i = taps.begin; i < taps.end; ++i) {
      const std::int64_t cell = start + i * y.dilation, slot = cell % ring.rows;
      rows[i] = slot * ring.row;
      if (held[slot] == cell) continue;
      held[slot] = cell;
      fold_rows(input + cell * x.in, 0, 1, sign, columns,
                PhaseRow<A>{values + rows[i], ring.phase, x.stride, x.padding});
    }
    indexed_row(values, shape, p, taps, rows, offsets, sign, to, indices + p * x.out);
  }
}

// One window, Registers * lanes channels.
template <class T, int Registers, bool Whole, bool Indexed>
SACCADE_HD void window_channels(const T* input, const WindowShape& shape, std::int64_t channels, std::int64_t p,
                                std::int64_t q, WindowRange rows, WindowRange columns, Vec<Index<Accumulator<T>>> sign,
                                std::int64_t lanes, T* out, std::int64_t* indices) {
  using A = Accumulator<T>;
  using I = Vec<Index<A>>;
  constexpr int kN = kLanes<A>;
  Vec<A> best[Registers];
  I where[Registers];
  const auto start = static_cast<Index<A>>(Indexed ? first_cell(shape, p, q, rows, columns) : 0);
  for (int r = 0; r < Registers; ++r) best[r] = splat<Vec<A>>(kLowest<A>), where[r] = I{} + start;
  for (std::int64_t i = rows.begin; i < rows.end; ++i) {
    const std::int64_t row = (window_start(shape.y, p) + i * shape.y.dilation) * shape.x.in;
    for (std::int64_t j = columns.begin; j < columns.end; ++j) {
      const std::int64_t cell = row + window_start(shape.x, q) + j * shape.x.dilation;
      for (int r = 0; r < Registers; ++r) {
        const auto candidate = flip(load_lanes<A, Whole>(input + cell * channels + r * kN, lanes), sign);
        if constexpr (Indexed) {
          const auto better = wins(candidate, best[r]);
          best[r] = better ? candidate : best[r];
          where[r] = better ? I{} + static_cast<Index<A>>(cell) : where[r];
        } else {
          best[r] = maximum(candidate, best[r]);
        }
      }
    }
  }
  for (int r = 0; r < Registers; ++r) {
    store_lanes<A, Whole>(out + r * kN, flip(best[r], sign), lanes);
    if constexpr (Indexed) store_indices<A>(indices + r * kN, where[r], Whole ? kN : lanes);
  }
}

template <class T, bool Indexed>
SACCADE_HD void channel_rows(const T* input, const WindowShape& shape, const WindowRange* columns,
                             std::int64_t channels, bool minimum, std::int64_t first, std::int64_t last, T* out,
                             std::int64_t* indices) {
  const auto sign = sign_of<Accumulator<T>>(minimum);
  for (std::int64_t p = first; p < last; ++p) {
    const WindowRange rows = taps_inside(shape.y, p);
    for (std::int64_t q = 0; q < shape.x.out; ++q) {
      const std::int64_t at = (p * shape.x.out + q) * channels;
      each_channel_group<Accumulator<T>>(channels, [&](std::int64_t c, auto registers, auto whole, std::int64_t lanes) {
        window_channels<T, registers(), whole(), Indexed>(input + c, shape, channels, p, q, rows, columns[q], sign,
                                                          lanes, out + at + c, Indexed ? indices + at + c : nullptr);
      });
    }
  }
}

template <class T>
void forward_channels(const T* input, const WindowShape& shape, const WindowRange* columns, std::int64_t channels,
                      bool minimum, std::int64_t first, std::int64_t last, T* out, std::int64_t* indices) {
  if (indices != nullptr) {
    channel_rows<T, true>(input, shape, columns, channels, minimum, first, last, out, indices);
  } else {
    channel_rows<T, false>(input, shape, columns, channels, minimum, first, last, out, indices);
  }
}

}  // namespace

const MaxPool2dKernels max_pool2d_kernels = {
    {forward_plane<Float16>, forward_channels<Float16>},
    {forward_plane<BFloat16>, forward_channels<BFloat16>},
    {forward_plane<float>, forward_channels<float>},
    {forward_plane<double>, forward_channels<double>},
};

}  // namespace saccade::SACCADE_ISA
