// exp of registers. For kernels only.
#pragma once

#include "isa/simd.h"
#include "math/exp.h"

namespace saccade::SACCADE_ISA {

struct RegisterArithmetic {
  template <class V>
  SACCADE_HD V fma(V a, V b, V c) {
    return SACCADE_ISA::fma(a, b, c);
  }
};

// exp(x) for x <= 0 (csrc/math/exp.h).
template <class V>
SACCADE_HD V exp_nonpositive(V x) {
  return saccade::exp_nonpositive<RegisterArithmetic>(x);
}

}  // namespace saccade::SACCADE_ISA
