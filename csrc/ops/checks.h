// Argument rules that many operations share. Each message names the operation, the argument, the rule and the value:
// "nms: boxes must have shape (N, 4), got (10, 5)".
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>

#include "common/error.h"
#include "common/tensor_view.h"

namespace saccade {

// `pattern` is what the message says, e.g. "(N, 4)"; -1 in `sizes` stands for any length.
inline void require_shape(const char* op, const char* name, const TensorView& view, const char* pattern,
                          std::initializer_list<std::int64_t> sizes) {
  bool fits = view.ndim == static_cast<int>(sizes.size());
  int d = 0;
  for (std::int64_t size : sizes) fits = fits && (size < 0 || view.sizes[d] == size), ++d;
  require(fits, op, ": ", name, " must have shape ", pattern, ", got ", shape_string(view));
}

inline void require_floating(const char* op, const char* name, const TensorView& view) {
  require_type(is_floating(view.dtype), op, ": ", name, " must be float16, bfloat16, float32 or float64, got ",
               dtype_name(view.dtype));
}

inline void require_dtype(const char* op, const char* name, const TensorView& view, DType dtype) {
  require_type(view.dtype == dtype, op, ": ", name, " must be ", dtype_name(dtype), ", got ", dtype_name(view.dtype));
}

inline void require_same_dtype(const char* op, const char* a_name, const TensorView& a, const char* b_name,
                               const TensorView& b) {
  require_type(a.dtype == b.dtype, op, ": ", a_name, " and ", b_name, " must have the same dtype, got ",
               dtype_name(a.dtype), " and ", dtype_name(b.dtype));
}

inline std::string device_name(int device) {
  return device == kCpu ? std::string("cpu") : "cuda:" + std::to_string(device);
}

inline void require_same_device(const char* op, const char* a_name, const TensorView& a, const char* b_name,
                                const TensorView& b) {
  require(a.device == b.device, op, ": ", a_name, " and ", b_name, " must be on the same device, got ",
          device_name(a.device), " and ", device_name(b.device));
}

}  // namespace saccade
