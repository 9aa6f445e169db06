// The arguments of cascade_detect.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "bind_torch/tensor.h"
#include "ops/cascade.h"

namespace saccade::bind_torch {

template <class T>
std::vector<T> vector_of(const Tensor& tensor, const char* name) {
  const TensorView given = view(tensor);
  require_type(given.dtype == DTypeOf<T>::value, "cascade_detect: ", name, " must be ", dtype_name(DTypeOf<T>::value),
               ", got ", dtype_name(given.dtype));
  require(given.device == kCpu, "cascade_detect: ", name, " must be on the CPU");
  const Tensor dense = torch::stable::contiguous(tensor);
  const T* values = view(dense).ptr<const T>();
  return std::vector<T>(values, values + given.numel());
}

// `arrays`: those of CascadeModel, in its order.
inline CascadeClassifier cascade_classifier(bool haar, std::int64_t width, std::int64_t height,
                                            const std::vector<Tensor>& arrays) {
  require(arrays.size() == 10, "cascade_detect: model must be 10 tensors, got ", arrays.size());
  CascadeModel model;
  model.features = haar ? CascadeFeatures::kHaar : CascadeFeatures::kLbp;
  const auto bounded = [](std::int64_t x) {
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(x, 0, kMaxCascadeWindow + 1));
  };
  model.width = bounded(width);
  model.height = bounded(height);
  model.stage_thresholds = vector_of<float>(arrays[0], "stage_thresholds");
  model.stage_trees = vector_of<std::int32_t>(arrays[1], "stage_trees");
  model.tree_nodes = vector_of<std::int32_t>(arrays[2], "tree_nodes");
  model.nodes = vector_of<std::int32_t>(arrays[3], "nodes");
  model.thresholds = vector_of<float>(arrays[4], "thresholds");
  model.subsets = vector_of<std::int32_t>(arrays[5], "subsets");
  model.leaves = vector_of<float>(arrays[6], "leaves");
  model.rects = vector_of<std::int32_t>(arrays[7], "rects");
  model.weights = vector_of<float>(arrays[8], "weights");
  model.tilted = vector_of<std::uint8_t>(arrays[9], "tilted");
  return CascadeClassifier(std::move(model));
}

inline CascadeOptions cascade_options(double scale_factor, std::int64_t min_neighbors,
                                      const std::vector<std::int64_t>& min_size,
                                      const std::vector<std::int64_t>& max_size) {
  CascadeOptions options;
  options.scale_factor = scale_factor;
  options.min_neighbors = min_neighbors;
  const auto set = [](const char* name, const std::vector<std::int64_t>& size, std::int64_t* to) {
    require(size.size() == 2, "cascade_detect: ", name, " must be two integers, width and height, got ", size.size());
    for (std::size_t k = 0; k < 2; ++k) {
      require(size[k] >= 0 && size[k] < std::int64_t{1} << 30, "cascade_detect: ", name,
              " must not be negative nor beyond 2^30, got (", size[0], ", ", size[1], ")");
      to[k] = size[k];
    }
  };
  set("min_size", min_size, options.min_size);
  set("max_size", max_size, options.max_size);
  return options;
}

inline void check_cascade_detect(const CascadeClassifier& classifier, const TensorView& image,
                                 const CascadeOptions& options) {
  require(image.ndim == 2, "cascade_detect: image must have shape (H, W), got ", shape_string(image));
  check_detect(classifier.model(), {image}, options);
}

}  // namespace saccade::bind_torch
