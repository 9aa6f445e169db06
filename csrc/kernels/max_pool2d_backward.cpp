// Planes: a band of rows, which stays in L1 or L2, takes the gradients whose index lies in it, one by one, as torch
// does. Kernels of at most 4 cells, 2 x 2 with stride 2: the windows' gradients and indices pass through a ring of rows
// in L1, and every cell takes the gradients whose index is its own; lanes are the cells a stride apart. That is one
// comparison a cell; the nine of 3 x 3 with stride 1, each with two loads across cache lines, took three times as long
// as the band. Channels innermost: a cell compares the indices of the windows over it with its own, lanes being
// channels. Always in row order of the windows, so all three give the same bits.
//
// Floor for 64 x 112 x 112 with 3 x 3, stride 2: 3.2 MB out, 0.8 MB of gradients, 1.6 MB of indices.
#include "kernels/max_pool2d_backward.h"

#include "kernels/streams.h"

namespace saccade::SACCADE_ISA {
namespace {

template <bool Whole, int N, class I>
SACCADE_HD Vec<I, N> load_indices(const std::int64_t* p, std::int64_t n) {
  Vec<std::int64_t, N> wide{};
  std::memcpy(&wide, p, static_cast<std::size_t>(Whole ? N : n) * sizeof(std::int64_t));
  return __builtin_convertvector(wide, Vec<I, N>);
}

// A row of windows into the ring, widened to A and to its lanes.
template <class T, class A>
SACCADE_HD void hold_row(const T* grad, const std::int64_t* indices, std::int64_t width, A* values, Index<A>* where) {
  constexpr int kN = kLanes<A>;
  using I = Index<A>;
  std::int64_t q = 0;
  for (; q + kN <= width; q += kN) {
    store(values + q, load_as<A, kN>(grad + q));
    store(where + q, load_indices<true, kN, I>(indices + q, kN));
  }
  for (; q < width; ++q) values[q] = to_float(grad[q]), where[q] = static_cast<I>(indices[q]);
}

// The windows over a row of cells: those of ring rows slot[0 .. count), and of each those that lie `back` places before
// the cell's own: in row order where the larger `back` comes first.
template <class A>
struct Over {
  const A* values;
  const Index<A>* where;
  const std::int64_t *slot, *back;
  std::int64_t slots, backs;
};
// Lanes: cell, cell + stride, ...; at: the place of the first one's last window.
template <class A>
SACCADE_HD Vec<A> gather_cells(const Over<A>& over, std::int64_t at, std::int64_t cell, std::int64_t stride) {
  using I = Vec<Index<A>>;
  const I cells = iota<I>() * static_cast<Index<A>>(stride) + static_cast<Index<A>>(cell);
  Vec<A> sum{};
  for (std::int64_t p = 0; p < over.slots; ++p)
    for (std::int64_t j = 0; j < over.backs; ++j) {
      const std::int64_t place = over.slot[p] + at - over.back[j];
      const auto more = sum + load<Vec<A>>(over.values + place);
      sum = load<I>(over.where + place) == cells ? more : sum;
    }
  return sum;
}

template <class T, class A>
SACCADE_HD void store_upto(T* p, Vec<A> v, std::int64_t n) {
  if (n >= kLanes<A>) return store_lanes<A, true>(p, v, n);
  if (n > 0) store_lanes<A, false>(p, v, n);
}

// One row of cells. backs(m): the windows over the cells x with x % stride == m, and the place of x = m.
template <class T, class A, class Backs>
SACCADE_HD void gather_row(const WindowAxis& x, std::int64_t cell, const Backs& backs, T* out) {
  constexpr int kN = kLanes<A>;
  if (x.stride == 1) {
    const auto [over, at] = backs(0);
    for (std::int64_t k = 0; k < x.in; k += kN)
      store_upto<T, A>(out + k, gather_cells(over, at + k, cell + k, 1), x.in - k);
    return;
  }
  if (x.stride == 2) {
    const auto [even, even_at] = backs(0);
    const auto [odd, odd_at] = backs(1);
    for (std::int64_t k = 0; 2 * k < x.in; k += kN) {
      const auto a = gather_cells(even, even_at + k, cell + 2 * k, 2);
      const auto b = gather_cells(odd, odd_at + k, cell + 2 * k + 1, 2);
      store_upto<T, A>(out + 2 * k, interleave<0>(a, b), x.in - 2 * k);
      store_upto<T, A>(out + 2 * k + kN, interleave<1>(a, b), x.in - 2 * k - kN);
    }
    return;
  }
  for (std::int64_t m = 0; m < x.stride && m < x.in; ++m) {
    const auto [over, at] = backs(m);
    for (std::int64_t k = 0; m + k * x.stride < x.in; k += kN) {
      const auto sum = gather_cells(over, at + k, cell + m + k * x.stride, x.stride);
      for (std::int64_t i = 0; i < kN && m + (k + i) * x.stride < x.in; ++i)
        out[m + (k + i) * x.stride] = from_float<T>(sum[i]);
    }
  }
}

template <class A>
struct BacksAt {
  Over<A> over;
  std::int64_t at;
};

template <class T, class A = Accumulator<T>>
void gather_plane(const T* grad, const std::int64_t* indices, const WindowShape& shape, const MaxPoolGather& gather,
                  std::int64_t first, std::int64_t last, A* values, Index<A>* where, std::int64_t* plan,
                  T* grad_input) {
  const WindowAxis &y = shape.y, &x = shape.x;
  std::int64_t *held = plan, *begins = held + gather.slots, *back = begins + x.stride + 1;
  for (std::int64_t i = 0; i < gather.values(); ++i) values[i] = A{}, where[i] = -1;
  for (std::int64_t i = 0; i < gather.slots; ++i) held[i] = -1;
  std::int64_t count = 0;
  for (std::int64_t m = 0; m < x.stride; ++m) {
    begins[m] = count;
    for (std::int64_t j = x.kernel - 1; j >= 0; --j)
      if (j * x.dilation % x.stride == (x.padding + m) % x.stride) back[count++] = j * x.dilation / x.stride;
  }
  begins[x.stride] = count;
  std::int64_t slot[kGatherTaps];
  for (std::int64_t row = first; row < last; ++row) {
    const WindowRange windows = windows_over(y, row);
    std::int64_t slots = 0;
    for (std::int64_t p = windows.begin; p < windows.end; ++p) {
      const std::int64_t place = p % gather.slots;
      if (held[place] != p) {
        held[place] = p;
        const std::int64_t at = place * gather.row + gather.margin;
        hold_row<T, A>(grad + p * x.out, indices + p * x.out, x.out, values + at, where + at);
      }
      if ((row - window_start(y, p)) % y.dilation == 0) slot[slots++] = place * gather.row;
    }
    gather_row<T, A>(
        x, row * x.in,
        [&](std::int64_t m) {
          return BacksAt<A>{{values, where, slot, back + begins[m], slots, begins[m + 1] - begins[m]},
                            gather.margin + (x.padding + m) / x.stride};
        },
        grad_input + row * x.in);
  }
}

template <class T, class A = Accumulator<T>>
void scatter_plane(const T* grad, const std::int64_t* indices, const WindowShape& shape, std::int64_t first,
                   std::int64_t last, A* sums, T* grad_input) {
  const std::int64_t begin = first * shape.x.in, cells = (last - first) * shape.x.in;
  constexpr bool kInPlace = std::is_same_v<A, T>;
  if constexpr (kInPlace) sums = grad_input + begin;
  for (std::int64_t i = 0; i < cells; ++i) sums[i] = A{};
  const std::int64_t from = windows_over(shape.y, first).begin * shape.x.out;
  const std::int64_t to = windows_over(shape.y, last - 1).end * shape.x.out;
  for (std::int64_t k = from; k < to; ++k) {
    const auto at = static_cast<std::uint64_t>(indices[k] - begin);
    if (at < static_cast<std::uint64_t>(cells)) sums[at] += to_float(grad[k]);
  }
  if constexpr (!kInPlace)
    for (std::int64_t i = 0; i < cells; ++i) grad_input[begin + i] = from_float<T>(sums[i]);
}

// One cell, Registers * lanes channels.
template <class T, int Registers, bool Whole>
SACCADE_HD void cell_channels(const T* grad, const std::int64_t* indices, std::int64_t width, WindowRange rows,
                              WindowRange columns, std::int64_t cell, std::int64_t channels, std::int64_t lanes,
                              T* out) {
  using A = Accumulator<T>;
  constexpr int kN = kLanes<A>;
  Vec<A> sum[Registers] = {};
  for (std::int64_t p = rows.begin; p < rows.end; ++p)
    for (std::int64_t q = columns.begin; q < columns.end; ++q) {
      const std::int64_t at = (p * width + q) * channels;
      for (int r = 0; r < Registers; ++r) {
        const auto value = load_lanes<A, Whole>(grad + at + r * kN, lanes);
        const auto where = load_indices<Whole, kN, Index<A>>(indices + at + r * kN, lanes);
        sum[r] = where == static_cast<Index<A>>(cell) ? sum[r] + value : sum[r];
      }
    }
  for (int r = 0; r < Registers; ++r) store_lanes<A, Whole>(out + r * kN, sum[r], lanes);
}

template <class T>
void backward_channels(const T* grad, const std::int64_t* indices, const WindowShape& shape,
                       const WindowRange* over_column, std::int64_t channels, std::int64_t first, std::int64_t last,
                       T* grad_input) {
  for (std::int64_t row = first; row < last; ++row) {
    const WindowRange rows = windows_over(shape.y, row);
    for (std::int64_t column = 0; column < shape.x.in; ++column) {
      const std::int64_t cell = row * shape.x.in + column;
      T* to = grad_input + cell * channels;
      each_channel_group<Accumulator<T>>(channels, [&](std::int64_t c, auto registers, auto whole, std::int64_t lanes) {
        cell_channels<T, registers(), whole()>(grad + c, indices + c, shape.x.out, rows, over_column[column], cell,
                                               channels, lanes, to + c);
      });
    }
  }
}

}  // namespace

#define SACCADE_TABLE(T) {gather_plane<T>, scatter_plane<T>, backward_channels<T>}
const MaxPool2dBackwardKernels max_pool2d_backward_kernels = {SACCADE_TABLE(Float16), SACCADE_TABLE(BFloat16),
                                                              SACCADE_TABLE(float), SACCADE_TABLE(double)};
#undef SACCADE_TABLE

}  // namespace saccade::SACCADE_ISA
