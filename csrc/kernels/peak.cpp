// Twelve independent chains of a full register: latency 4 on two units wants eight, and twelve plus two constants still
// fit the sixteen registers of AVX2. Levels without an FMA instruction multiply and add.
#include "kernels/peak.h"

#include "isa/simd.h"

namespace saccade::SACCADE_ISA {
namespace {

using V = Vec<float>;
constexpr int kChains = 12;

std::int64_t fma_chains(std::int64_t steps, float* sink) {
  V chain[kChains];
  for (int i = 0; i < kChains; ++i) chain[i] = splat<V>(static_cast<float>(i));
  const V factor = splat<V>(0.999f), addend = splat<V>(1e-3f);
  for (std::int64_t step = 0; step < steps; ++step)
    for (int i = 0; i < kChains; ++i) chain[i] = fma(chain[i], factor, addend);
  V sum = chain[0];
  for (int i = 1; i < kChains; ++i) sum += chain[i];
  *sink = reduce_add(sum);
  return steps * kChains * kLanes<float> * 2;
}

}  // namespace

const PeakKernels peak_kernels = {fma_chains};

}  // namespace saccade::SACCADE_ISA
