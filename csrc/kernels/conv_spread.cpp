// A row of results whose neighbours in memory read different weights, in the order of a period, and cells that were
// brought into the same order first. All registers of a period that are alike are taken together: their weights are
// loaded once. Floor for two by two taps in float32: four loads and four multiply-adds for each register of results,
// and its 64 bytes, which are more than memory takes meanwhile.
#include "kernels/conv_spread.h"

#include "kernels/activate.h"
#include "kernels/streams.h"

namespace saccade::SACCADE_ISA {
namespace {

template <class A>
SACCADE_HD Vec<A> finished(Activation activation, Vec<A> sum, Vec<A> scale, Vec<A> shift) {
  sum = fma(sum, scale, shift);
  if (activation == Activation::kNone) return sum;
  return activate_register<A>(activation, sum);
}

// Taps: as many, their weights in registers; 0: any number.
template <class T, int Taps, bool PastCaches>
void row_of(const SpreadRow<T>& row) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  constexpr int kN = kLanes<A>;
  const std::int64_t period = row.period, count = row.count;
  const Activation activation = row.activation;
  T* const out = row.out;
  const A* cells[Taps > 0 ? Taps : 1];
  for (int t = 0; t < Taps; ++t) cells[t] = row.cells[t];
  std::int64_t m = row.phase;
  for (std::int64_t first = 0; first < period && first < count; first += kN) {
    V weights[Taps > 0 ? Taps : 1];
    for (int t = 0; t < Taps; ++t) weights[t] = load<V>(row.weights[t] + m);
    const V scale = load<V>(row.scale + m), shift = load<V>(row.shift + m);
    const auto result = [&](std::int64_t e) __attribute__((always_inline)) {
      V sum{};
      if constexpr (Taps > 0) {
#pragma GCC unroll 4
        for (int t = 0; t < Taps; ++t) sum = fma(load<V>(cells[t] + e), weights[t], sum);
      } else {
        for (std::int64_t t = 0; t < row.taps; ++t)
          sum = fma(load<V>(row.cells[t] + e), load<V>(row.weights[t] + m), sum);
      }
      return finished<A>(activation, sum, scale, shift);
    };
    std::int64_t e = first;
    for (; e + kN <= count; e += period) {
      if constexpr (PastCaches) {
        stream(out + e, result(e));
      } else {
        store_lanes<A, true>(out + e, result(e), kN);
      }
    }
    if (e < count) store_lanes<A, false>(out + e, result(e), count - e);
    m += kN;
    if (m >= period) m -= period;
  }
}

template <class T, bool PastCaches>
void row_by_taps(const SpreadRow<T>& row) {
  switch (row.taps) {
    case 1: return row_of<T, 1, PastCaches>(row);
    case 2: return row_of<T, 2, PastCaches>(row);
    case 4: return row_of<T, 4, PastCaches>(row);
    default: return row_of<T, 0, PastCaches>(row);
  }
}

template <class T>
void row(const SpreadRow<T>& of) {
  using A = Accumulator<T>;
  if constexpr (std::is_same_v<T, A>) {
    if (of.past_caches && of.taps <= kSpreadMostTaps) {
      const auto address = reinterpret_cast<std::uintptr_t>(of.out);
      std::int64_t head = static_cast<std::int64_t>((SACCADE_VEC_BYTES - address % SACCADE_VEC_BYTES) / sizeof(T));
      head = head % kLanes<A>;
      SpreadRow<T> begin = of, rest = of;
      begin.count = head < of.count ? head : of.count;
      row_by_taps<T, false>(begin);
      const A* cells[kSpreadMostTaps];
      for (std::int64_t t = 0; t < of.taps; ++t) cells[t] = of.cells[t] + begin.count;
      rest.cells = cells, rest.out = of.out + begin.count, rest.count = of.count - begin.count;
      rest.phase = (of.phase + begin.count) % of.period;
      return row_by_taps<T, true>(rest);
    }
  }
  row_by_taps<T, false>(of);
}

// Writes run over into the next repetition, which follows.
template <class A>
SACCADE_HD void repeat(const A* block, std::int64_t length, std::int64_t times, A* to) {
  constexpr int kN = kLanes<A>;
  for (std::int64_t r = 0; r < times; ++r)
    for (std::int64_t k = 0; k < length; k += kN) store(to + r * length + k, load<Vec<A>>(block + k));
}

template <class T>
void spread(const T* pixels, std::int64_t pixel_step, std::int64_t count, std::int64_t times, std::int64_t length,
            const std::int64_t* places, Accumulator<T>* to) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  constexpr int kN = kLanes<A>;
  std::int64_t j = 0;
  if (length == 1 && pixel_step == 1 && times <= 2 && places == nullptr) {
    for (; j < count; j += kN) {
      const V cells =
          count - j >= kN ? load_lanes<A, true>(pixels + j, kN) : load_lanes<A, false>(pixels + j, count - j);
      store(to + j * times, times == 1 ? cells : interleave<0>(cells, cells));
      if (times == 2) store(to + 2 * j + kN, interleave<1>(cells, cells));
    }
  }
  for (; j < count; ++j) {
    const T* pixel = pixels + j * pixel_step;
    A* first = to + j * times * length;
    if (length == 1) {
      const V cell = splat<V>(to_float(pixel[places ? places[0] : 0]));
      for (std::int64_t r = 0; r < times; r += kN) store(first + r, cell);
      continue;
    }
    if (places != nullptr) {
      for (std::int64_t k = 0; k < length; ++k) first[k] = to_float(pixel[places[k]]);
    } else {
      for (std::int64_t k = 0; k < length; k += kN)
        store(first + k,
              length - k >= kN ? load_lanes<A, true>(pixel + k, kN) : load_lanes<A, false>(pixel + k, length - k));
    }
    repeat(first, length, times - 1, first + length);
  }
}

void fence() { stream_fence(); }

template <class T>
constexpr ConvSpreadFunctions<T> functions() {
  return {row<T>, fence, spread<T>, kLanes<Accumulator<T>>};
}

}  // namespace

const ConvSpreadKernels conv_spread_kernels = {functions<Float16>(), functions<BFloat16>(), functions<float>(),
                                               functions<double>()};

}  // namespace saccade::SACCADE_ISA
