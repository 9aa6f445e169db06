#include <initializer_list>
#include <optional>
#include <utility>

#include "ops/batch_norm.h"
#include "ops/checks.h"
#include "ops/sync_batch_norm.h"

namespace saccade {
namespace {

constexpr const char* kOp = "batch_norm";

std::int64_t channels_of(const TensorView& input) { return input.ndim > 1 ? input.size(1) : 0; }

void check_input(const TensorView& input) {
  require(input.ndim >= 2 || (input.ndim == 1 && input.numel() == 0), kOp,
          ": input must have shape (N, C) or (N, C, ...), got ", shape_string(input));
  require_floating(kOp, "input", input);
}

void check_like(const char* name, const TensorView& view, const TensorView& input) {
  bool same = view.ndim == input.ndim;
  for (int d = 0; same && d < view.ndim; ++d) same = view.sizes[d] == input.sizes[d];
  require(same, kOp, ": ", name, " must have the shape of input, ", shape_string(input), ", got ", shape_string(view));
  require_same_dtype(kOp, name, view, "input", input);
  require_same_device(kOp, name, view, "input", input);
}

void check_parameter(const char* name, const TensorView& view, const TensorView& input) {
  require(view.ndim == 1 && view.size(0) == channels_of(input), kOp, ": ", name, " must have shape (C,) = (",
          channels_of(input), ",), got ", shape_string(view));
  require_type(view.dtype == input.dtype || (is_half(input.dtype) && view.dtype == DType::kFloat32), kOp, ": ", name,
               " must be ", dtype_name(input.dtype), is_half(input.dtype) ? " or float32" : "", ", got ",
               dtype_name(view.dtype));
  require_same_device(kOp, name, view, "input", input);
}

// Those that are there have one dtype.
void check_parameters(std::initializer_list<std::pair<const char*, const std::optional<TensorView>*>> parameters,
                      const TensorView& input) {
  const TensorView* first = nullptr;
  for (const auto& [name, view] : parameters) {
    if (!*view) continue;
    check_parameter(name, **view, input);
    if (!first) first = &**view;
    require_type(first->dtype == (*view)->dtype, kOp, ": parameters must have one dtype, got ",
                 dtype_name(first->dtype), " and ", dtype_name((*view)->dtype));
  }
}

void check_channels(const char* name, const TensorView& view, const TensorView& input, DType dtype) {
  require_shape(kOp, name, view, "(C,)", {channels_of(input)});
  require_dtype(kOp, name, view, dtype);
  require_same_device(kOp, name, view, "input", input);
}

void check_activation(std::int64_t activation) {
  require(activation >= 0 && activation < kActivations, kOp, ": activation must be a number from 0 to ",
          kActivations - 1, ", got ", activation);
}

}  // namespace

void check_batch_norm(const BatchNormArguments& a) {
  check_input(a.input);
  check_activation(a.activation);
  check_parameters(
      {{"running_mean", &a.running_mean}, {"running_var", &a.running_var}, {"weight", &a.weight}, {"bias", &a.bias}},
      a.input);
  require(a.running_mean.has_value() == a.running_var.has_value(), kOp,
          ": running_mean and running_var must both be given or both be None");
  require(a.training || a.running_mean, kOp, ": running_mean and running_var must be given in evaluation, got None");
  if (a.residual) check_like("residual", *a.residual, a.input);
  std::int64_t count = 1;
  for (int d = 0; d < a.input.ndim; ++d) count *= d == 1 ? 1 : a.input.size(d);
  require(!a.training || count != 1, kOp, ": input must have more than 1 value per channel when training, got shape ",
          shape_string(a.input));
}

void check_batch_norm_backward(const BatchNormGradient& a) {
  check_input(a.input);
  check_activation(a.activation);
  check_like("grad", a.grad, a.input);
  require(a.activation == 0 || a.output, kOp, ": output must be given where there is an activation, got None");
  if (a.output) check_like("output", *a.output, a.input);
  if (a.weight) check_parameter("weight", *a.weight, a.input);
  const DType accumulator = a.input.dtype == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
  check_channels("mean", a.mean, a.input, accumulator);
  check_channels("var", a.var, a.input, accumulator);
}

void check_sync_batch_norm_statistics(const TensorView& input) { check_input(input); }

void check_sync_batch_norm_apply(const BatchNormArguments& a) {
  check_input(a.input);
  check_activation(a.activation);
  check_parameters({{"weight", &a.weight}, {"bias", &a.bias}}, a.input);
  check_channels("mean", a.running_mean.value(), a.input, DType::kFloat64);
  check_channels("var", a.running_var.value(), a.input, DType::kFloat64);
  if (a.residual) check_like("residual", *a.residual, a.input);
}

void check_sync_batch_norm_backward_apply(const BatchNormGradient& a, const TensorView& means) {
  check_batch_norm_backward(a);
  require_shape(kOp, "means", means, "(2, C)", {2, channels_of(a.input)});
  require_dtype(kOp, "means", means, DType::kFloat64);
  require_same_device(kOp, "means", means, "input", a.input);
}

NormShape norm_shape(const TensorView& input) {
  const std::int64_t channels = channels_of(input);
  if (input.is_channels_last() && !input.is_contiguous()) {
    const std::int64_t cells = input.size(0) * input.size(2) * input.size(3);
    return {cells, channels, 1, cells, true};
  }
  std::int64_t inner = 1;
  for (int d = 2; d < input.ndim; ++d) inner *= input.size(d);
  return {input.size(0), channels, inner, input.size(0) * inner, inner == 1};
}

}  // namespace saccade
