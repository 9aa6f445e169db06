// An activation that is known at run time only, for kernels with many variants.
#pragma once

#include "isa/exp.h"
#include "isa/simd.h"
#include "math/activation.h"

namespace saccade::SACCADE_ISA {

// Out of line: the activations that take a while are not worth a copy in every variant.
template <class A>
__attribute__((noinline)) Vec<A> activate_register(Activation activation, Vec<A> value) {
  dispatch_activation(activation, [&](auto kind) { value = activate<kind(), RegisterArithmetic>(value); });
  return value;
}

}  // namespace saccade::SACCADE_ISA
