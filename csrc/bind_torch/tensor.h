// torch tensors through libtorch's stable ABI: as views, and as outputs.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "common/error.h"
#include "common/tensor_view.h"

namespace saccade::bind_torch {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline DType dtype_of(ScalarType type) {
  switch (type) {
    case ScalarType::Bool: return DType::kBool;
    case ScalarType::Byte: return DType::kUInt8;
    case ScalarType::Char: return DType::kInt8;
    case ScalarType::Short: return DType::kInt16;
    case ScalarType::Int: return DType::kInt32;
    case ScalarType::Long: return DType::kInt64;
    case ScalarType::Half: return DType::kFloat16;
    case ScalarType::BFloat16: return DType::kBFloat16;
    case ScalarType::Float: return DType::kFloat32;
    case ScalarType::Double: return DType::kFloat64;
    default: return DType::kUnsupported;
  }
}

// The tensor as csrc/ops sees it. The view borrows: keep the tensor alive.
inline TensorView view(const Tensor& tensor) {
  TensorView result;
  const auto sizes = tensor.sizes(), strides = tensor.strides();
  require(sizes.size() <= kMaxDims, "a tensor must have at most ", kMaxDims, " dimensions, got ", sizes.size());
  result.data = tensor.data_ptr();
  result.dtype = dtype_of(tensor.scalar_type());
  result.device = tensor.is_cpu() ? kCpu : tensor.get_device_index();
  result.ndim = static_cast<int>(sizes.size());
  for (int d = 0; d < result.ndim; ++d) {
    result.sizes[d] = sizes[d];
    result.strides[d] = strides[d];
  }
  return result;
}

inline std::optional<TensorView> optional_view(const std::optional<Tensor>& tensor) {
  return tensor ? std::optional(view(*tensor)) : std::nullopt;
}

inline std::vector<TensorView> views(const std::vector<Tensor>& tensors) {
  std::vector<TensorView> result;
  for (const Tensor& tensor : tensors) result.push_back(view(tensor));
  return result;
}

// An uninitialised tensor on the device of `like`, of its dtype unless another is named.
inline Tensor empty(const std::vector<std::int64_t>& sizes, const Tensor& like, std::optional<ScalarType> dtype = {},
                    std::optional<MemoryFormat> format = {}) {
  return torch::stable::empty(sizes, dtype.value_or(like.scalar_type()), std::nullopt, like.device(), std::nullopt,
                              format);
}

// A one-dimensional CPU tensor holding a copy of the values.
inline Tensor from_vector(const std::vector<std::int64_t>& values) {
  Tensor result = torch::stable::empty({static_cast<std::int64_t>(values.size())}, ScalarType::Long);
  if (!values.empty()) std::memcpy(result.data_ptr(), values.data(), values.size() * sizeof(std::int64_t));
  return result;
}

// TORCH_BOX whose errors name the Python exception they stand for: libtorch hands every C++ exception on as a
// RuntimeError, and saccade.ops._library.call turns "ValueError: ..." back into the ValueError that NumPy users get.
template <class Function, Function* function>
void boxed(StableIValue* stack, std::uint64_t inputs, std::uint64_t outputs) {
  try {
    torch::stable::detail::boxer<Function, function>::boxed_fn(stack, inputs, outputs);
  } catch (const ValueError& error) {
    throw std::runtime_error(std::string("ValueError: ") + error.what());
  } catch (const TypeError& error) {
    throw std::runtime_error(std::string("TypeError: ") + error.what());
  }
}

}  // namespace saccade::bind_torch

#define SACCADE_BOX(function) (&::saccade::bind_torch::boxed<decltype(function), &function>)

// Every file of bind_torch declares its schemas and the CPU kernels:
//   SACCADE_TORCH_SCHEMAS(m) { m.def("nms(Tensor boxes, ...) -> Tensor"); }
//   SACCADE_TORCH_CPU(m) { m.impl("nms", SACCADE_BOX(nms)); }
// The host build of the CUDA kernels (tests/cuda_host) takes a CUDA kernel instead of the CPU kernel where there is
// one.
#define SACCADE_TORCH_SCHEMAS(m) STABLE_TORCH_LIBRARY_FRAGMENT(saccade, m)
#if defined(SACCADE_CUDA_HOST)
#include "registration.h"
#define SACCADE_TORCH_CPU(m) SACCADE_HOST_REGISTRATION(kCpu, m)
#else
#define SACCADE_TORCH_CPU(m) STABLE_TORCH_LIBRARY_IMPL(saccade, CPU, m)
#endif
