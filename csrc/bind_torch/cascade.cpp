#include "bind_torch/cascade.h"

#include <algorithm>

namespace saccade::bind_torch {
namespace {

std::tuple<Tensor, Tensor> cascade_detect(const Tensor& image, bool haar, std::int64_t width, std::int64_t height,
                                          std::vector<Tensor> model, double scale_factor, std::int64_t min_neighbors,
                                          std::vector<std::int64_t> min_size, std::vector<std::int64_t> max_size) {
  const CascadeClassifier classifier = cascade_classifier(haar, width, height, model);
  const CascadeOptions options = cascade_options(scale_factor, min_neighbors, min_size, max_size);
  check_cascade_detect(classifier, view(image), options);
  const CascadeDetections found = classifier.detect({view(image)}, options)[0];
  const auto count = static_cast<std::int64_t>(found.boxes.size());
  Tensor boxes = empty({count, 4}, image, ScalarType::Int), scores = empty({count}, image, ScalarType::Double);
  std::copy(found.boxes.begin(), found.boxes.end(), view(boxes).ptr<Rectangle>());
  std::copy(found.scores.begin(), found.scores.end(), view(scores).ptr<double>());
  return {boxes, scores};
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "cascade_detect(Tensor image, bool haar, int width, int height, Tensor[] model, float scale_factor, "
      "int min_neighbors, int[] min_size, int[] max_size) -> (Tensor boxes, Tensor scores)");
}

SACCADE_TORCH_CPU(m) { m.impl("cascade_detect", SACCADE_BOX(cascade_detect)); }

}  // namespace saccade::bind_torch
