// Run after run, in each block after block: in planes the blocks of a run are neighbours in memory.
#include "kernels/conv_shuffle.h"

#include "kernels/streams.h"

namespace saccade::SACCADE_ISA {
namespace {

// The binary digits of n, the largest first.
template <class T, int N, class A = Accumulator<T>>
SACCADE_HD void copy_digits(const A* from, std::int64_t n, T* to) {
  if (n & N) {
    store_as<A, N>(to, load<Vec<A, N>>(from));
    from += N, to += N;
  }
  if constexpr (N > 2)
    copy_digits<T, N / 2>(from, n, to);
  else if (n & 1)
    *to = from_float<T>(*from);
}

template <class T, class A = Accumulator<T>>
SACCADE_HD void copy(const A* from, std::int64_t n, T* to) {
  constexpr int kN = kLanes<A>;
  for (; n >= kN; n -= kN, from += kN, to += kN) store_as<A, kN>(to, load<Vec<A>>(from));
  if constexpr (kN > 2)
    copy_digits<T, kN / 2>(from, n, to);
  else if (n & 1)
    *to = from_float<T>(*from);
}

template <class T>
void place(const ShuffledBlocks<T>& b) {
  std::int64_t r = b.first / b.run, w = b.first % b.run;
  for (std::int64_t j = 0; j < b.columns; ++r, w = 0) {
    const std::int64_t left = b.columns - j, n = b.run - w < left ? b.run - w : left;
    T* const out = b.out + r * b.step;
    for (std::int64_t i = 0; i < b.count; ++i) {
      std::int64_t begin = w, end = w + n;
      if (b.within) {
        begin = begin < b.begin[i] ? b.begin[i] : begin;
        end = end > b.end[i] ? b.end[i] : end;
      } else if (r < b.begin[i] || r >= b.end[i]) {
        continue;
      }
      if (begin < end) copy(b.values + i * b.pitch + j + begin - w, end - begin, out + (b.places[i] + begin));
    }
    j += n;
  }
}

template <class T>
constexpr ConvShuffleFunctions<T> functions() {
  return {place<T>};
}

}  // namespace

const ConvShuffleKernels conv_shuffle_kernels = {functions<Float16>(), functions<BFloat16>(), functions<float>(),
                                                 functions<double>()};

}  // namespace saccade::SACCADE_ISA
