// The arguments of hog_descriptors and hog_detect.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bind_torch/tensor.h"
#include "ops/checks.h"
#include "ops/hog_descriptor.h"

namespace saccade::bind_torch {

// `sizes`: of window, block, block stride and cell, each width and height, then bins and levels.
inline HogDescriptor hog_descriptor(const char* op, const std::vector<std::int64_t>& sizes, double sigma,
                                    double threshold, bool gamma, bool full_circle) {
  require(sizes.size() == 10, op, ": geometry must be 10 integers, got ", sizes.size());
  HogGeometry g;
  g.window = {sizes[0], sizes[1]}, g.block = {sizes[2], sizes[3]}, g.stride = {sizes[4], sizes[5]};
  g.cell = {sizes[6], sizes[7]}, g.bins = sizes[8], g.levels = sizes[9];
  g.sigma = sigma, g.threshold = threshold, g.gamma = gamma, g.full_circle = full_circle;
  return HogDescriptor(g);
}

// `stride` (0, 0): a cell.
inline HogOptions hog_options(const char* op, const std::vector<std::int64_t>& stride,
                              const std::vector<std::int64_t>& padding) {
  const auto size = [&](const char* name, const std::vector<std::int64_t>& pair, std::int64_t limit) {
    require(pair.size() == 2 && pair[0] >= 0 && pair[1] >= 0 && pair[0] < limit && pair[1] < limit, op, ": ", name,
            " must be two integers, width and height, from 0 to ", limit - 1);
    return HogSize{pair[0], pair[1]};
  };
  HogOptions options;
  options.stride = size("win_stride", stride, std::int64_t{1} << 30);
  options.padding = size("padding", padding, std::int64_t{1} << 14);
  require((options.stride.width == 0) == (options.stride.height == 0), op,
          ": win_stride must be at least 1, or 0 both ways");
  return options;
}

inline std::vector<float> hog_coefficients(const char* op, const Tensor& coefficients) {
  const TensorView given = view(coefficients);
  require_type(given.dtype == DType::kFloat32, op, ": coefficients must be float32, got ", dtype_name(given.dtype));
  require(given.device == kCpu, op, ": coefficients must be on the CPU");
  const Tensor dense = torch::stable::contiguous(coefficients);
  const auto* values = view(dense).ptr<const float>();
  return std::vector<float>(values, values + given.numel());
}

// Of no dtype where there are none.
inline TensorView hog_locations(const char* op, const std::optional<Tensor>& locations) {
  if (!locations) return {};
  const TensorView given = view(*locations);
  require(given.device == kCpu, op, ": locations must be on the CPU");
  return given;
}

}  // namespace saccade::bind_torch
