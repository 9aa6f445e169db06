// What kernels do to a result before they write it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/common/channel_parameter.h"
#include "math/activation.h"
#include "math/half.h"

namespace saccade::cuda {

// T: the input's type; A: the accumulator's.
template <class T, class A>
__device__ double parameter_at(const ChannelParameter& p, std::int64_t c, double absent) {
  if (!p.data) return absent;
  if (p.is_input_type) return to_float(static_cast<const T*>(p.data)[c * p.stride]);
  return static_cast<const A*>(p.data)[c * p.stride];
}

// The kind is the same for all threads: a branch, not a kernel for each.
template <class A>
__device__ A activated(Activation kind, A x) {
  switch (kind) {
    case Activation::kRelu: return activate<Activation::kRelu, ScalarArithmetic>(x);
    case Activation::kLeakyRelu: return activate<Activation::kLeakyRelu, ScalarArithmetic>(x);
    case Activation::kElu: return activate<Activation::kElu, ScalarArithmetic>(x);
    case Activation::kSigmoid: return activate<Activation::kSigmoid, ScalarArithmetic>(x);
    case Activation::kNone: break;
  }
  return x;
}

}  // namespace saccade::cuda
