#include "kernels/nms.h"

#include "isa/simd.h"

// Greedy suppression (torchvision.ops.nms), forwards: a box that is kept marks those it suppresses.
//
// iou > t needs centres closer than side * (1 - t) / 2t in both axes. So the boxes are laid out by the cell of their
// centre, row after row of a grid, and a kept box compares itself with the runs of slots that its window covers, a full
// register at a time; nothing is done for a suppressed one. The grid is a torus: far boxes may share a cell, which
// costs comparisons and never a wrong result, so no outlier can spoil it.
//
// Numbers: a pair is first compared without a division, w * h > c * (area_i + area_j) with c slightly below
// t / (1 + t); what passes is decided by the quotient, rounded as torchvision rounds it.
namespace saccade::SACCADE_ISA {
namespace {

// Below this area a product may have lost bits to underflow, and the window and the first comparison prove nothing.
template <class T>
constexpr T kTinyArea = sizeof(T) == 4 ? T(1e-30) : T(1e-290);
template <class T>
constexpr T kInfinity = static_cast<T>(__builtin_inf());

template <class T>
struct Grid {
  int column_bits = 0, row_bits = 0;
  T per_width = 0, per_height = 0;  // cells per unit of length
  T reach = kInfinity<T>;           // half the window, in sides of the kept box
  T factor = 0;                     // c
  bool by_quotient = false;         // negative threshold: disjoint boxes suppress each other too
  std::uint32_t inert() const { return std::uint32_t{1} << (column_bits + row_bits); }
};

template <class T>
struct Slots {
  T *x1, *y1, *x2, *y2;
  T* level;  // -c * area; minus infinity: suppressed or visited
  std::uint32_t* slot_of_rank;
  std::uint32_t* row_of_slot;    // in the memory of `level`, behind what is being written there
  std::uint32_t *across, *down;  // by rank: the window's columns and rows, as a Span
  std::uint32_t* edge;           // slots of cell i: [edge[i], edge[i + 1])
};

template <class T>
Slots<T> slots_in(void* memory, std::int64_t count) {
  char* next = static_cast<char*>(memory);
  const auto take = [&next](std::int64_t bytes) {
    char* p = next;
    next += (bytes + 63) / 64 * 64;
    return static_cast<void*>(p);
  };
  const std::int64_t slots = count + kNmsPadding;
  Slots<T> s;
  s.slot_of_rank = static_cast<std::uint32_t*>(take(slots * 4));
  for (T** array : {&s.x1, &s.y1, &s.x2, &s.y2, &s.level})
    *array = static_cast<T*>(take(slots * static_cast<std::int64_t>(sizeof(T))));
  s.row_of_slot = reinterpret_cast<std::uint32_t*>(s.level) + slots * static_cast<std::int64_t>(sizeof(T) / 4 - 1);
  s.across = static_cast<std::uint32_t*>(take(slots * 4));
  s.down = static_cast<std::uint32_t*>(take(slots * 4));
  s.edge = static_cast<std::uint32_t*>(take(4));
  return s;
}

template <class T>
struct Side {  // sums of the bit patterns of positive lengths: their mean is close to the geometric mean
  std::int64_t bits = 0;
  void add(T x) {
    const float f = static_cast<float>(x);
    bits += static_cast<std::int64_t>(float_to_bits(f < 1e30f ? f : 1e30f));
  }
  T mean(std::int64_t n) const { return static_cast<T>(bits_to_float(static_cast<std::uint32_t>(bits / n))); }
};

template <class T>
Grid<T> choose_grid(const NmsProblem<T>& problem) {
  Grid<T> grid;
  const T t = problem.threshold + T(0);  // -0 would put the reach at minus infinity
  grid.by_quotient = !(t >= 0);
  if (grid.by_quotient) return grid;
  // The margins (2^-19, 2^-17) are many times the rounding errors of a handful of operations.
  grid.factor = t / (1 + t) * (1 - T(1.9e-6));
  const T safe = t * (1 - T(7.6e-6));
  grid.reach = (1 - safe) / (2 * safe);
  if (grid.reach < 0) grid.reach = 0;
  const int bits = nms_cell_bits(problem.count);
  if (bits == 0 || !(grid.reach < 8)) return grid;
  Side<T> width, height;
  std::int64_t sampled = 0;
  const std::int64_t step = problem.count / 64;
  for (std::int64_t r = 0; r < problem.count; r += step) {
    const T* box = problem.boxes + std::int64_t{4} * problem.order[r];
    const T w = box[2] - box[0], h = box[3] - box[1];
    if (!(w > 0 && h > 0)) continue;
    width.add(w), height.add(h), ++sampled;
  }
  if (sampled == 0) return grid;
  // A cell is a quarter of a typical window wide and twice as high as it: cells of a row are contiguous, rows cost a
  // loop. Halving or doubling either, or the number of cells, changed the time by less than a fifth.
  const T window = 2 * grid.reach > T(0.25) ? 2 * grid.reach : T(0.25);
  grid.per_width = 4 / (window * width.mean(sampled) + T(1e-30));
  grid.per_height = T(0.5) / (window * height.mean(sampled) + T(1e-30));
  grid.column_bits = (bits + 3) / 2 < bits ? (bits + 3) / 2 : bits;
  grid.row_bits = bits - grid.column_bits;
  return grid;
}

constexpr std::int32_t kFarCell = 1 << 29;

template <class T>
SACCADE_HD Mask<Vec<T>> cell_floor(Vec<T> x) {
  x = min(max(x, splat<Vec<T>>(T(-kFarCell))), splat<Vec<T>>(T(kFarCell)));
  const auto i = __builtin_convertvector(x, Mask<Vec<T>>);
  return i + (__builtin_convertvector(i, Vec<T>) > x);  // a true comparison is -1
}

// The cells along one axis, around the torus, that centres of boxes suppressed by [low, high] may lie in: 16 bits for
// the first and 16 for the number of further ones.
template <class T>
SACCADE_HD Mask<Vec<T>> window(Vec<T> low, Vec<T> high, T reach, T per_length, int bits) {
  using V = Vec<T>;
  const V centre = low * T(0.5) + high * T(0.5);
  // The last term covers the rounding of centres far from the origin.
  const V half = (high - low) * reach + max(centre, -centre) * (sizeof(T) == 4 ? T(5e-7) : T(1e-15));
  const Element<Mask<V>> last = (Element<Mask<V>>{1} << bits) - 1;
  const Mask<V> first = cell_floor<T>((centre - half) * per_length);
  const Mask<V> further = cell_floor<T>((centre + half) * per_length) - first;
  return (first & last) | (further < last ? further : Mask<V>{} + last) << 16;
}

template <class T>
struct Boxes {
  Vec<T> x1, y1, x2, y2;
};
template <class T>
SACCADE_HD Boxes<T> gather_boxes(const T* boxes, Vec<std::int32_t, kLanes<T>> row) {
  const auto at = row * 4;
  return {gather<Vec<T>>(boxes, at), gather<Vec<T>>(boxes + 1, at), gather<Vec<T>>(boxes + 2, at),
          gather<Vec<T>>(boxes + 3, at)};
}

// Cell of every rank into slot_of_rank. Boxes that can neither suppress nor be suppressed go to the cell after the
// last: without a positive finite area there is no positive finite quotient. Returns whether some area is tiny.
template <class T>
bool assign_cells(const NmsProblem<T>& problem, const Grid<T>& grid, const Slots<T>& slots) {
  using V = Vec<T>;
  using I = Vec<std::int32_t, kLanes<T>>;
  const auto columns = (Element<Mask<V>>{1} << grid.column_bits) - 1, rows = (Element<Mask<V>>{1} << grid.row_bits) - 1;
  Mask<V> tiny{};
  for (std::int64_t r = 0; r < problem.count; r += kLanes<T>) {
    const std::int64_t left = problem.count - r;
    const auto* order = reinterpret_cast<const std::int32_t*>(problem.order) + r;
    const I row = left >= kLanes<T> ? load<I>(order) : load_partial<I>(order, left);
    const Boxes<T> b = gather_boxes<T>(problem.boxes, row);
    const V w = b.x2 - b.x1, area = w * (b.y2 - b.y1);
    const Mask<V> active = grid.by_quotient ? area == area : (w > 0) & (area > 0) & (area < kInfinity<T>);
    tiny |= active & (area < kTinyArea<T>);
    const Mask<V> column = cell_floor<T>((b.x1 * T(0.5) + b.x2 * T(0.5)) * grid.per_width) & columns;
    const Mask<V> line = cell_floor<T>((b.y1 * T(0.5) + b.y2 * T(0.5)) * grid.per_height) & rows;
    const Mask<V> cell = (line << grid.column_bits) + column;
    const Mask<V> inert = Mask<V>{} + static_cast<Element<Mask<V>>>(grid.inert());
    const auto put = [r](std::uint32_t* array, Mask<V> values) {
      store(reinterpret_cast<std::int32_t*>(array) + r, __builtin_convertvector(values, I));
    };
    put(slots.slot_of_rank, active ? cell : inert);
    put(slots.across, window<T>(b.x1, b.x2, grid.reach, grid.per_width, grid.column_bits));
    put(slots.down, window<T>(b.y1, b.y2, grid.reach, grid.per_height, grid.row_bits));
  }
  return any(tiny);
}

// Counting sort by cell: boxes of one cell stay in order of rank.
template <class T>
void fill_slots(const NmsProblem<T>& problem, const Grid<T>& grid, const Slots<T>& slots) {
  using I = Vec<std::int32_t, kLanes<T>>;
  const std::int64_t n = problem.count, cells = std::int64_t{grid.inert()} + 1;
  std::uint32_t* const cursor = slots.edge + 1;
  for (std::int64_t c = 0; c < cells + 2; ++c) slots.edge[c] = 0;
  for (std::int64_t r = 0; r < n; ++r) ++cursor[slots.slot_of_rank[r] + 1];
  for (std::int64_t c = 0; c < cells; ++c) cursor[c + 1] += cursor[c];
  for (std::int64_t r = 0; r < n; ++r) {  // moves cursor[c] from the cell's first slot to the next cell's
    const std::uint32_t slot = cursor[slots.slot_of_rank[r]]++;
    slots.slot_of_rank[r] = slot;
    slots.row_of_slot[slot] = problem.order[r];
  }
  for (std::int64_t i = 0; i < kNmsPadding; ++i) slots.row_of_slot[n + i] = problem.order[0];
  for (std::int64_t s = 0; s < n; s += kLanes<T>) {
    const Boxes<T> b = gather_boxes<T>(problem.boxes, load<I>(reinterpret_cast<std::int32_t*>(slots.row_of_slot) + s));
    store(slots.x1 + s, b.x1), store(slots.y1 + s, b.y1), store(slots.x2 + s, b.x2), store(slots.y2 + s, b.y2);
    store(slots.level + s, (b.x2 - b.x1) * (b.y2 - b.y1) * -grid.factor);
  }
  for (std::int64_t s = slots.edge[grid.inert()]; s < n; ++s) slots.level[s] = 0;
  for (std::int64_t s = n; s < n + kNmsPadding; ++s) slots.level[s] = -kInfinity<T>;
  if (grid.by_quotient)
    for (std::int64_t s = 0; s < n; ++s) slots.level[s] = 0;
}

template <class T>
struct Kept {
  Vec<T> x1, y1, x2, y2, area, level;
  Vec<T> threshold;
};

// Marks those of slots [begin, end) that the kept box suppresses; a few slots beyond may be marked too, rightly.
// Two registers at a time: most runs are shorter, and a loop of a foreseeable length costs less than the idle lanes.
template <bool kByQuotient, class T>
SACCADE_HD void suppress_run(const Slots<T>& slots, const Kept<T>& kept, std::int64_t begin, std::int64_t end) {
  using V = Vec<T>;
  const V zero{}, gone = zero - kInfinity<T>;
  const auto is_near = [&](std::int64_t i) {
    const V level = load<V>(slots.level + i);
    if constexpr (kByQuotient) return greater_bits(level, gone);
    const V w = min(load<V>(slots.x2 + i), kept.x2) - max(load<V>(slots.x1 + i), kept.x1);
    const V h = min(load<V>(slots.y2 + i), kept.y2) - max(load<V>(slots.y1 + i), kept.y1);
    return greater_bits(fma(max(zero, w), h, level), kept.level);
  };
  for (std::int64_t i = begin; i < end; i += 2 * kLanes<T>) {
    if ((is_near(i) | is_near(i + kLanes<T>)) == 0) [[likely]]
      continue;
    for (std::int64_t k = i; k < i + 2 * kLanes<T>; k += kLanes<T>) {
      const V x1 = load<V>(slots.x1 + k), y1 = load<V>(slots.y1 + k);
      const V x2 = load<V>(slots.x2 + k), y2 = load<V>(slots.y2 + k);
      const V w = max(min(x2, kept.x2) - max(x1, kept.x1), zero), h = max(min(y2, kept.y2) - max(y1, kept.y1), zero);
      const V iou = w * h / (kept.area + (x2 - x1) * (y2 - y1) - w * h);
      store(slots.level + k, iou > kept.threshold ? gone : load<V>(slots.level + k));
    }
  }
}

template <bool kByQuotient, class T>
void suppress_around(const NmsProblem<T>& problem, const Grid<T>& grid, const Slots<T>& slots, std::int64_t rank) {
  using V = Vec<T>;
  const T* box = problem.boxes + std::int64_t{4} * problem.order[rank];
  const T area = (box[2] - box[0]) * (box[3] - box[1]);
  const Kept<T> kept = {splat<V>(box[0]),           splat<V>(box[1]), splat<V>(box[2]),
                        splat<V>(box[3]),           splat<V>(area),   splat<V>(area * grid.factor),
                        splat<V>(problem.threshold)};
  if (grid.column_bits == 0) return suppress_run<kByQuotient>(slots, kept, 0, slots.edge[1]);
  const std::uint32_t columns = std::uint32_t{1} << grid.column_bits, rows = std::uint32_t{1} << grid.row_bits;
  const std::uint32_t left = slots.across[rank] & 0xffff, right = left + (slots.across[rank] >> 16) + 1;
  const std::uint32_t top = slots.down[rank] & 0xffff, bottom = top + (slots.down[rank] >> 16) + 1;
  for (std::uint32_t y = top; y < bottom; ++y) {
    const std::uint32_t* edge = slots.edge + (static_cast<std::size_t>(y & (rows - 1)) << grid.column_bits);
    suppress_run<kByQuotient>(slots, kept, edge[left], edge[right < columns ? right : columns]);
    if (right > columns) [[unlikely]]
      suppress_run<kByQuotient>(slots, kept, edge[0], edge[right - columns]);
  }
}

template <class T>
std::int64_t suppress(const NmsProblem<T>& problem) {
  const Slots<T> slots = slots_in<T>(problem.memory, problem.count);
  Grid<T> grid = choose_grid(problem);
  if (assign_cells(problem, grid, slots) && !grid.by_quotient) {
    grid = Grid<T>{};  // one cell, and every pair that intersects is decided by the quotient
    assign_cells(problem, grid, slots);
  }
  fill_slots(problem, grid, slots);
  const std::uint32_t inert = slots.edge[grid.inert()];
  std::int64_t count = 0;
  for (std::int64_t r = 0; r < problem.count; ++r) {
    const std::uint32_t slot = slots.slot_of_rank[r];
    if (slots.level[slot] == -kInfinity<T>) continue;
    slots.slot_of_rank[count++] = static_cast<std::uint32_t>(r);  // at a place already read
    if (count == problem.max_output) break;
    if (slot >= inert) continue;
    slots.level[slot] = -kInfinity<T>;
    if (grid.by_quotient)
      suppress_around<true>(problem, grid, slots, r);
    else
      suppress_around<false>(problem, grid, slots, r);
  }
  return count;
}

}  // namespace

const NmsKernels nms_kernels = {suppress<float>, suppress<double>};

}  // namespace saccade::SACCADE_ISA
