// Planes: the windows' rows over a row of cells are added up, each divided by what it counts, then every cell takes the
// columns over it; rows of cells under the same windows are copies. Channels innermost: a cell adds up the windows
// over it, lanes being channels. Gradients are multiplied by the reciprocal of the count: every cell would divide.
#include "kernels/avg_pool2d_backward.h"

#include "kernels/streams.h"

namespace saccade::SACCADE_ISA {
namespace {

template <class T, class A>
SACCADE_HD void store_upto(T* p, Vec<A> v, std::int64_t n) {
  if (n >= kLanes<A>) return store_lanes<A, true>(p, v, n);
  if (n > 0) store_lanes<A, false>(p, v, n);
}

// 1 / (count * counts[q]), whole registers of them.
template <class A>
SACCADE_HD void reciprocals(const A* counts, A count, std::int64_t width, A* inverse) {
  for (std::int64_t q = 0; q < width; q += kLanes<A>)
    store(inverse + q, splat<Vec<A>>(A{1}) / (load<Vec<A>>(counts + q) * count));
}

// sums += a row of gradients * inverse.
template <class T, class A>
SACCADE_HD void add_row(const T* grad, const A* inverse, std::int64_t width, A* sums) {
  constexpr int kN = kLanes<A>;
  for (std::int64_t q = 0; q < width; q += kN) {
    const std::int64_t n = width - q;
    const auto value = n >= kN ? load_lanes<A, true>(grad + q, kN) : load_lanes<A, false>(grad + q, n);
    store(sums + q, fma(value, load<Vec<A>>(inverse + q), load<Vec<A>>(sums + q)));
  }
}

template <class T, class A>
SACCADE_HD void fill(T* p, std::int64_t n, A value) {
  constexpr int kN = kLanes<A>;
  const auto v = splat<Vec<A>>(value);
  for (std::int64_t i = 0; i < n; i += kN) store_upto<T, A>(p + i, v, n - i);
}

// Neighbouring windows share no cell.
template <class T, class A>
SACCADE_HD void spread_apart(const A* sums, const WindowRange* columns, const WindowAxis& x, T* out) {
  std::int64_t done = 0;
  for (std::int64_t q = 0; q < x.out; ++q) {
    const WindowRange cells = columns[q];
    fill(out + done, cells.begin - done, A{});
    fill(out + cells.begin, cells.end - cells.begin, sums[q]);
    done = cells.end;
  }
  fill(out + done, x.in - done, A{});
}

template <class T, class A>
SACCADE_HD void spread_ranges(const A* sums, const WindowRange* columns, const WindowAxis& x, A* cells, T* out) {
  for (std::int64_t i = 0; i < x.in; ++i) cells[i] = A{};
  for (std::int64_t q = 0; q < x.out; ++q)
    for (std::int64_t i = columns[q].begin; i < columns[q].end; ++i) cells[i] += sums[q];
  for (std::int64_t i = 0; i < x.in; ++i) out[i] = from_float<T>(cells[i]);
}

// The windows over the cells m, m + stride, ...: lane k's are the `taps` places that end with last + k.
template <class A>
struct Taps {
  const A* last;
  std::int64_t taps;
};
template <class A>
SACCADE_HD Taps<A> taps_over(const A* sums, const WindowAxis& x, std::int64_t m) {
  const std::int64_t remainder = (m + x.padding) % x.stride;
  return {sums + (m + x.padding) / x.stride, (x.kernel - remainder + x.stride - 1) / x.stride};
}
template <class A>
SACCADE_HD Vec<A> sum_of(const Taps<A>& over, std::int64_t k) {
  Vec<A> sum{};
  for (std::int64_t j = over.taps - 1; j >= 0; --j) sum += load<Vec<A>>(over.last + k - j);
  return sum;
}

// Stride 1 and 2: lanes are neighbouring cells, or every second.
template <class T, class A>
SACCADE_HD void spread_lanes(const Taps<A>& even, const Taps<A>& odd, const WindowAxis& x, T* out) {
  constexpr int kN = kLanes<A>;
  if (x.stride == 1) {
    for (std::int64_t k = 0; k < x.in; k += kN) store_upto<T, A>(out + k, sum_of(even, k), x.in - k);
    return;
  }
  for (std::int64_t k = 0; 2 * k < x.in; k += kN) {
    const auto a = sum_of(even, k), b = sum_of(odd, k);
    store_upto<T, A>(out + 2 * k, interleave<0>(a, b), x.in - 2 * k);
    store_upto<T, A>(out + 2 * k + kN, interleave<1>(a, b), x.in - 2 * k - kN);
  }
}

template <class T>
SACCADE_HD void copy_row(const T* from, std::int64_t n, T* to) {
  using Word = Vec<std::uint8_t>;
  const auto* source = reinterpret_cast<const std::uint8_t*>(from);
  auto* target = reinterpret_cast<std::uint8_t*>(to);
  const std::int64_t bytes = n * static_cast<std::int64_t>(sizeof(T));
  std::int64_t i = 0;
  for (; i + static_cast<std::int64_t>(sizeof(Word)) <= bytes; i += sizeof(Word))
    store(target + i, load<Word>(source + i));
  for (; i < bytes; i += sizeof(T)) to[i / sizeof(T)] = from[i / sizeof(T)];
}

template <class T, class A = Accumulator<T>>
void spread_planes(const T* grad, const MeanShape& shape, const WindowRange* columns, const A* counts,
                   std::int64_t first, std::int64_t last, A* memory, T* grad_input) {
  const WindowAxis &y = shape.y.window, &x = shape.x.window;
  const MeanSpread spread = mean_spread(shape.x);
  A *inverse = memory, *row = inverse + spread.row, *cells = row + spread.row, *sums = row + spread.margin;
  const bool lanes = !shape.x.adaptive && x.stride <= 2 && x.out >= 4;
  const bool apart = !shape.x.adaptive && (x.out == 1 || x.kernel <= x.stride);
  // Outside the loop: a division costs as much as a dozen cells.
  const Taps<A> even = taps_over<A>(sums, x, 0), odd = taps_over<A>(sums, x, 1);
  A counted{};
  WindowRange before{-1, -1};
  std::int64_t cell = first % y.in;
  const T* plane = grad + first / y.in * y.out * x.out;
  for (std::int64_t r = first; r < last; ++r, ++cell) {
    if (cell == y.in) cell = 0, plane += y.out * x.out;
    const WindowRange over = windows_with(shape.y, cell);
    T* to = grad_input + r * x.in;
    if (cell > 0 && over.begin == before.begin && over.end == before.end) {
      copy_row(to - x.in, x.in, to);
      continue;
    }
    before = over;
    for (std::int64_t i = 0; i < spread.row; ++i) row[i] = A{};
    for (std::int64_t p = over.begin; p < over.end; ++p) {
      const auto count = static_cast<A>(cells_counted(shape.y, p));
      if (count != counted) reciprocals(counts, count, x.out, inverse);
      counted = count;
      add_row(plane + p * x.out, inverse, x.out, sums);
    }
    if (lanes) {
      spread_lanes(even, odd, x, to);
    } else if (apart) {
      spread_apart(sums, columns, x, to);
    } else {
      spread_ranges(sums, columns, x, cells, to);
    }
  }
}

template <class T, class A = Accumulator<T>>
void spread_channels(const T* grad, const MeanShape& shape, const WindowRange* over, const A* counts,
                     std::int64_t channels, std::int64_t first, std::int64_t last, A* inverse, T* grad_input) {
  constexpr int kN = kLanes<A>;
  const WindowAxis& x = shape.x.window;
  const std::int64_t pitch = (x.out + kN - 1) / kN * kN;
  for (std::int64_t row = first; row < last; ++row) {
    const WindowRange rows = windows_with(shape.y, row);
    for (std::int64_t p = rows.begin; p < rows.end; ++p)
      reciprocals(counts, static_cast<A>(cells_counted(shape.y, p)), x.out, inverse + (p - rows.begin) * pitch);
    for (std::int64_t column = 0; column < x.in; ++column) {
      const WindowRange columns = over[column];
      T* to = grad_input + (row * x.in + column) * channels;
      each_channel_group<A>(channels, [&](std::int64_t c, auto registers, auto whole, std::int64_t lanes) {
        Vec<A> sum[registers()] = {};
        for (std::int64_t p = rows.begin; p < rows.end; ++p)
          for (std::int64_t q = columns.begin; q < columns.end; ++q) {
            const auto scale = splat<Vec<A>>(inverse[(p - rows.begin) * pitch + q]);
            const T* from = grad + (p * x.out + q) * channels + c;
            for (int r = 0; r < registers(); ++r)
              sum[r] = fma(load_lanes<A, whole()>(from + r * kN, lanes), scale, sum[r]);
          }
        for (int r = 0; r < registers(); ++r) store_lanes<A, whole()>(to + c + r * kN, sum[r], lanes);
      });
    }
  }
}

}  // namespace

const AvgPool2dBackwardKernels avg_pool2d_backward_kernels = {
    {spread_planes<Float16>, spread_channels<Float16>},
    {spread_planes<BFloat16>, spread_channels<BFloat16>},
    {spread_planes<float>, spread_channels<float>},
    {spread_planes<double>, spread_channels<double>},
};

}  // namespace saccade::SACCADE_ISA
