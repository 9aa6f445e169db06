// Values above a threshold, few among many: four registers are compared at a time and one branch passes them over, so
// that a core reads at the rate of memory.
#include "kernels/best_above.h"

#include "isa/simd.h"

namespace saccade::SACCADE_ISA {
namespace {

constexpr int kUnroll = 4;

template <class T>
AboveScan find_above(const T* values, std::int64_t begin, std::int64_t end, T threshold, Above<T>* found,
                     std::int64_t room) {
  using V = Vec<T>;
  constexpr std::int64_t kStep = kUnroll * kLanes<T>;
  static_assert(kStep <= kAboveBlock);
  const V limit = splat<V>(threshold);
  std::int64_t at = begin, count = 0;
  for (; at + kStep <= end && room - count >= kStep; at += kStep) {
    std::uint64_t bits[kUnroll], every = 0;
    for (int u = 0; u < kUnroll; ++u) {
      bits[u] = greater_bits(load<V>(values + at + u * kLanes<T>), limit);
      every |= bits[u];
    }
    if (every == 0) continue;
    for (int u = 0; u < kUnroll; ++u) {
      for (; bits[u] != 0; bits[u] &= bits[u] - 1) {
        const std::int64_t index = at + u * kLanes<T> + __builtin_ctzll(bits[u]);
        found[count++] = {values[index], index};
      }
    }
  }
  if (end - at >= kStep) return {at, count};
  for (; at < end && count < room; ++at)
    if (values[at] > threshold) found[count++] = {values[at], at};
  return {at, count};
}

}  // namespace

const BestAboveKernels best_above_kernels = {find_above<float>, find_above<double>};

}  // namespace saccade::SACCADE_ISA
