// The arithmetic peak of one core, for benchmarks: no operation of the library uses it.
#pragma once

#include <cstdint>

#include "isa/isa.h"

namespace saccade {

struct PeakKernels {
  // Runs `steps` rounds of independent float32 multiply-adds; returns the operations done. `sink` keeps them alive.
  std::int64_t (*fma_chains)(std::int64_t steps, float* sink);
};
SACCADE_KERNELS(PeakKernels, peak_kernels)

}  // namespace saccade
