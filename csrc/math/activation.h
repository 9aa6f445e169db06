// The activations that operations apply to their results, and their derivatives from the activated value, so that a
// backward needs nothing but the output: one text for the SIMD kernels (V a vector) and for CUDA (V a scalar).
// Slope of leaky_relu: 0.01; alpha of elu: 1. NaN stays NaN.
#pragma once

#include "common/macros.h"
#include "math/exp.h"

namespace saccade {

enum class Activation : int { kNone = 0, kRelu = 1, kLeakyRelu = 2, kElu = 3, kSigmoid = 4 };
constexpr int kActivations = 5;

template <Activation kKind, class Arithmetic, class V>
SACCADE_HD V activate(V x) {
  if constexpr (kKind == Activation::kRelu) return x < V{} ? V{} : x;
  if constexpr (kKind == Activation::kLeakyRelu) return x > V{} ? x : x * constant<V>(0.01);
  if constexpr (kKind == Activation::kElu) {
    const V negative = exp_nonpositive<Arithmetic>(x < V{} ? x : V{}) - constant<V>(1);
    return x < V{} ? negative : x;
  }
  if constexpr (kKind == Activation::kSigmoid) {
    const V e = exp_nonpositive<Arithmetic>(x < V{} ? x : -x), s = constant<V>(1) / (constant<V>(1) + e);
    const V result = x < V{} ? e * s : s;
    return x != x ? x : result;
  }
  return x;
}

// grad times the derivative where the activation gave y.
template <Activation kKind, class V>
SACCADE_HD V activation_gradient(V grad, V y) {
  if constexpr (kKind == Activation::kRelu) return y <= V{} ? V{} : grad;
  if constexpr (kKind == Activation::kLeakyRelu) return y > V{} ? grad : grad * constant<V>(0.01);
  if constexpr (kKind == Activation::kElu) return y <= V{} ? grad * (y + constant<V>(1)) : grad;
  if constexpr (kKind == Activation::kSigmoid) return grad * (y * (constant<V>(1) - y));
  return grad;
}

// Calls body(std::integral_constant<Activation, kind>{}).
template <class Body>
[[maybe_unused]] static inline __attribute__((always_inline)) void dispatch_activation(Activation kind,
                                                                                       const Body& body) {
  switch (kind) {
    case Activation::kRelu: return body(std::integral_constant<Activation, Activation::kRelu>{});
    case Activation::kLeakyRelu: return body(std::integral_constant<Activation, Activation::kLeakyRelu>{});
    case Activation::kElu: return body(std::integral_constant<Activation, Activation::kElu>{});
    case Activation::kSigmoid: return body(std::integral_constant<Activation, Activation::kSigmoid>{});
    case Activation::kNone: break;
  }
  body(std::integral_constant<Activation, Activation::kNone>{});
}

}  // namespace saccade
