// A strided array somebody else owns: what NumPy arrays and torch tensors look like to csrc/ops.
#pragma once

#include <cstdint>
#include <string>

#include "common/dtype.h"

namespace saccade {

constexpr int kMaxDims = 8;
constexpr int kCpu = -1;

struct TensorView {
  void* data = nullptr;
  DType dtype = DType::kUnsupported;
  int device = kCpu;  // kCpu, or the index of a CUDA device
  int ndim = 0;
  std::int64_t sizes[kMaxDims] = {};
  std::int64_t strides[kMaxDims] = {};  // in elements; may be negative or zero

  template <class T>
  T* ptr() const {
    return static_cast<T*>(data);
  }
  std::int64_t size(int dim) const { return sizes[dim < 0 ? dim + ndim : dim]; }
  std::int64_t stride(int dim) const { return strides[dim < 0 ? dim + ndim : dim]; }

  std::int64_t numel() const {
    std::int64_t n = 1;
    for (int d = 0; d < ndim; ++d) n *= sizes[d];
    return n;
  }

  // Row-major without gaps (dimensions of length one may have any stride).
  bool is_contiguous() const {
    std::int64_t expected = 1;
    for (int d = ndim - 1; d >= 0; --d) {
      if (sizes[d] != 1 && strides[d] != expected) return numel() == 0;
      expected *= sizes[d];
    }
    return true;
  }

  // (n, c, h, w) stored as n, h, w, c without gaps: torch's channels_last.
  bool is_channels_last() const {
    if (ndim != 4) return false;
    const int order[] = {1, 3, 2, 0};
    std::int64_t expected = 1;
    for (int d : order) {
      if (sizes[d] != 1 && strides[d] != expected) return numel() == 0;
      expected *= sizes[d];
    }
    return true;
  }
};

// "(2, 3, 4)" as Python prints a shape.
inline std::string shape_string(const TensorView& view) {
  std::string text = "(";
  for (int d = 0; d < view.ndim; ++d) {
    if (d > 0) text += ", ";
    text += std::to_string(view.sizes[d]);
  }
  return text + (view.ndim == 1 ? ",)" : ")");
}

}  // namespace saccade
