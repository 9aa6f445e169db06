// Planes: the rows of a window first, straight from the input, their sums into one row of L1, then the columns; lanes
// are neighbouring windows (stride 1 and 2) or the cells of one window. Channels innermost: lanes are channels.
// The sum is divided, not multiplied by a reciprocal: the mean of equal whole numbers is that number.
#include "kernels/avg_pool2d.h"

#include "kernels/phase_streams.h"
#include "kernels/streams.h"

namespace saccade::SACCADE_ISA {
namespace {

// Cells that are added up before they join a sum of many more: float32 keeps its precision.
constexpr std::int64_t kChunk = 8192;

template <class A, class T>
SACCADE_HD Vec<A> chunk_sum(const T* p, std::int64_t n) {
  constexpr int kN = kLanes<A>;
  Vec<A> sum[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * kN <= n; i += 4 * kN)
    for (int r = 0; r < 4; ++r) sum[r] += load_as<A, kN>(p + i + r * kN);
  for (; i + kN <= n; i += kN) sum[0] += load_as<A, kN>(p + i);
  if (i < n) sum[1] += load_lanes<A, false>(p + i, n - i);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}
// A vector whose lanes add up to the sum.
template <class A, class T>
SACCADE_HD Vec<A> partial_sums(const T* p, std::int64_t n) {
  if (n <= kChunk) return chunk_sum<A>(p, n);
  Vec<A> sum{};
  for (; n > 0; n -= kChunk, p += kChunk) sum += chunk_sum<A>(p, n < kChunk ? n : kChunk);
  return sum;
}

template <class A, class T>
SACCADE_HD A range_sum(const T* p, std::int64_t n) {
  if (n >= kLanes<A>) return reduce_add(partial_sums<A>(p, n));
  A sum{};
  for (std::int64_t i = 0; i < n; ++i) sum += to_float(p[i]);
  return sum;
}

// The sums of as many planes as there are lanes are turned into lanes.
template <class T, class A = Accumulator<T>>
void whole_planes(const T* input, std::int64_t cells, A divisor, std::int64_t planes, T* out) {
  constexpr int kN = kLanes<A>;
  for (std::int64_t k = 0; k < planes; k += kN) {
    const std::int64_t n = planes - k < kN ? planes - k : kN;
    Vec<A> sums[kN] = {};
    for (std::int64_t i = 0; i < n; ++i) sums[i] = partial_sums<A>(input + (k + i) * cells, cells);
    for (int count = kN / 2; count > 0; count /= 2)
      for (int i = 0; i < count; ++i)
        sums[i] = every_second<0>(sums[2 * i], sums[2 * i + 1]) + every_second<1>(sums[2 * i], sums[2 * i + 1]);
    const Vec<A> mean = sums[0] / splat<Vec<A>>(divisor);
    if (n == kN) {
      store_lanes<A, true>(out + k, mean, kN);
    } else {
      store_lanes<A, false>(out + k, mean, n);
    }
  }
}

template <class T, class A, class S>
SACCADE_HD void mean_of_ranges(const S* row, const MeanColumns<A>& columns, A count, std::int64_t width, T* out) {
  for (std::int64_t q = 0; q < width; ++q) {
    const WindowRange cells = columns.columns[q];
    out[q] = from_float<T>(range_sum<A>(row + cells.begin, cells.end - cells.begin) / (count * columns.counts[q]));
  }
}

template <class T, class A>
SACCADE_HD void mean_of_phases(const PhaseRow<A>& row, std::int64_t kernel, const A* counts, A count,
                               std::int64_t width, T* out) {
  constexpr int kN = kLanes<A>;
  for (std::int64_t q = 0; q < width; q += kN) {
    Vec<A> sum{};
    for (std::int64_t m = 0; m < row.stride; ++m)
      for (std::int64_t j = m, at = m * row.phase + q; j < kernel; j += row.stride, ++at)
        sum += load<Vec<A>>(row.base + at);
    const Vec<A> mean = sum / (load<Vec<A>>(counts + q) * count);
    if (q + kN <= width) {
      store_lanes<A, true>(out + q, mean, kN);
    } else {
      store_lanes<A, false>(out + q, mean, width - q);
    }
  }
}

template <class T, class A>
SACCADE_HD void sum_rows(const T* rows, std::int64_t step, std::int64_t count, std::int64_t columns, A* sums) {
  each_channel_group<A>(columns, [&](std::int64_t x, auto registers, auto whole, std::int64_t lanes) {
    constexpr int kN = kLanes<A>;
    Vec<A> sum[registers()] = {};
    for (std::int64_t i = 0; i < count; ++i)
      for (int r = 0; r < registers(); ++r) sum[r] += load_lanes<A, whole()>(rows + i * step + x + r * kN, lanes);
    for (int r = 0; r < registers(); ++r) store_lanes<A, whole()>(sums + x + r * kN, sum[r], lanes);
  });
}

template <class T, class A = Accumulator<T>>
void pool_planes(const T* input, const MeanShape& shape, const MeanColumns<A>& columns, std::int64_t first,
                 std::int64_t last, A* row, T* out) {
  const WindowAxis &y = shape.y.window, &x = shape.x.window;
  const bool by_phase = mean_by_phase(shape.x);
  const PhaseRow<A> phases{row, by_phase ? phase_length(x) : 0, x.stride, x.padding};
  if (by_phase)
    for (std::int64_t i = 0; i < mean_row_length(shape.x); ++i) row[i] = A{};
  std::int64_t p = first % y.out;
  const T* plane = input + first / y.out * y.in * x.in;
  for (std::int64_t r = first; r < last; ++r, ++p) {
    if (p == y.out) p = 0, plane += y.in * x.in;
    const WindowRange rows = cells_in(shape.y, p);
    const std::int64_t height = rows.end - rows.begin;
    const T* top = plane + rows.begin * x.in;
    const auto count = static_cast<A>(cells_counted(shape.y, p));
    T* to = out + r * x.out;
    if (by_phase) {
      write_phases(columns_in(phases, x.in), phases, [&](std::int64_t at, auto whole, std::int64_t lanes) {
        auto sum = load_lanes<A, whole()>(top + at, lanes);
        for (std::int64_t i = 1; i < height; ++i) sum += load_lanes<A, whole()>(top + i * x.in + at, lanes);
        return sum;
      });
      mean_of_phases(phases, x.kernel, columns.counts, count, x.out, to);
    } else if (height == 1) {
      mean_of_ranges<T, A>(top, columns, count, x.out, to);
    } else {
      sum_rows(top, x.in, height, x.in, row);
      mean_of_ranges<T, A>(row, columns, count, x.out, to);
    }
  }
}

// A window of few cells or channels: the sums stay in registers.
template <class T, class A>
SACCADE_HD void mean_in_registers(const T* corner, std::int64_t pitch, std::int64_t height, std::int64_t width,
                                  std::int64_t channels, A divisor, std::int64_t first, std::int64_t last, T* out) {
  each_channel_group<A>(last - first, [&](std::int64_t c, auto registers, auto whole, std::int64_t lanes) {
    constexpr int kN = kLanes<A>;
    Vec<A> sum[registers()] = {};
    for (std::int64_t i = 0; i < height; ++i) {
      const T* cell = corner + i * pitch + first + c;
      Vec<A> row[registers()] = {};
      for (std::int64_t j = 0; j < width; ++j, cell += channels)
        for (int r = 0; r < registers(); ++r) row[r] += load_lanes<A, whole()>(cell + r * kN, lanes);
      for (int r = 0; r < registers(); ++r) sum[r] += row[r];
    }
    for (int r = 0; r < registers(); ++r)
      store_lanes<A, whole()>(out + first + c + r * kN, sum[r] / splat<Vec<A>>(divisor), lanes);
  });
}

// Many channels and cells: a few cells' channels at a time, in the order of memory, into sums in L1.
constexpr std::int64_t kCellsAtATime = 8;

// sums = or += the sum of the cells.
template <bool Add, class T, class A>
SACCADE_HD void sum_cells(const T* cell, std::int64_t cells, std::int64_t pitch, std::int64_t count, A* sums) {
  each_channel_group<A>(count, [&](std::int64_t c, auto registers, auto whole, std::int64_t lanes) {
    constexpr int kN = kLanes<A>;
    Vec<A> sum[registers()] = {};
    for (std::int64_t k = 0; k < cells; ++k)
      for (int r = 0; r < registers(); ++r) sum[r] += load_lanes<A, whole()>(cell + k * pitch + c + r * kN, lanes);
    for (int r = 0; r < registers(); ++r) {
      A* to = sums + c + r * kN;
      if constexpr (Add) sum[r] += load_lanes<A, whole()>(to, lanes);
      store_lanes<A, whole()>(to, sum[r], lanes);
    }
  });
}

// sums: twice as many as channels.
template <class T, class A>
SACCADE_HD void mean_in_memory(const T* corner, std::int64_t pitch, std::int64_t height, std::int64_t width,
                               std::int64_t channels, A divisor, std::int64_t first, std::int64_t last, A* sums,
                               T* out) {
  constexpr int kN = kLanes<A>;
  const std::int64_t count = last - first;
  A* row = sums + count;
  for (std::int64_t c = 0; c < count; ++c) sums[c] = A{};
  for (std::int64_t i = 0; i < height; ++i) {
    const T* cell = corner + i * pitch + first;
    if (width <= kCellsAtATime) {
      sum_cells<true>(cell, width, channels, count, sums);
      continue;
    }
    sum_cells<false>(cell, kCellsAtATime, channels, count, row);
    for (std::int64_t j = kCellsAtATime; j < width; j += kCellsAtATime) {
      const std::int64_t cells = width - j < kCellsAtATime ? width - j : kCellsAtATime;
      sum_cells<true>(cell + j * channels, cells, channels, count, row);
    }
    sum_cells<true>(row, 1, count, count, sums);
  }
  each_channel_group<A>(count, [&](std::int64_t c, auto registers, auto whole, std::int64_t lanes) {
    for (int r = 0; r < registers(); ++r) {
      const auto sum = load_lanes<A, whole()>(sums + c + r * kN, lanes);
      store_lanes<A, whole()>(out + first + c + r * kN, sum / splat<Vec<A>>(divisor), lanes);
    }
  });
}

template <class T, class A = Accumulator<T>>
void pool_channels(const T* input, const MeanShape& shape, const MeanColumns<A>& columns, std::int64_t channels,
                   std::int64_t p, std::int64_t first, std::int64_t last, A* sums, T* out) {
  const WindowAxis& x = shape.x.window;
  const WindowRange rows = cells_in(shape.y, p);
  const std::int64_t height = rows.end - rows.begin, pitch = x.in * channels;
  const auto count = static_cast<A>(cells_counted(shape.y, p));
  for (std::int64_t q = 0; q < x.out; ++q) {
    const WindowRange cells = columns.columns[q];
    const std::int64_t width = cells.end - cells.begin;
    const T* corner = input + rows.begin * pitch + cells.begin * channels;
    T* to = out + (p * x.out + q) * channels;
    const A divisor = count * columns.counts[q];
    if (height * width > 16 && channels > 4 * kLanes<A>) {
      mean_in_memory(corner, pitch, height, width, channels, divisor, first, last, sums, to);
    } else {
      mean_in_registers(corner, pitch, height, width, channels, divisor, first, last, to);
    }
  }
}

}  // namespace

const AvgPool2dKernels avg_pool2d_kernels = {
    {whole_planes<Float16>, pool_planes<Float16>, pool_channels<Float16>},
    {whole_planes<BFloat16>, pool_planes<BFloat16>, pool_channels<BFloat16>},
    {whole_planes<float>, pool_planes<float>, pool_channels<float>},
    {whole_planes<double>, pool_planes<double>, pool_channels<double>},
};

}  // namespace saccade::SACCADE_ISA
