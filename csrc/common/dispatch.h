// From a run-time dtype to a compile-time type.
#pragma once

#include "common/dtype.h"

namespace saccade {

template <class T>
struct TypeTag {
  using type = T;
};

// Calls body(TypeTag<T>{}) for the floating type T that `dtype` names; the caller has checked that it is one.
template <class Body>
decltype(auto) dispatch_floating(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kFloat16: return body(TypeTag<Float16>{});
    case DType::kBFloat16: return body(TypeTag<BFloat16>{});
    case DType::kFloat64: return body(TypeTag<double>{});
    default: return body(TypeTag<float>{});
  }
}

}  // namespace saccade
