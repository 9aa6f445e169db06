#include "bind_torch/hog_descriptor.h"

#include <algorithm>

namespace saccade::bind_torch {
namespace {

Tensor hog_descriptors(const Tensor& image, std::vector<std::int64_t> geometry, double win_sigma,
                       double l2_hys_threshold, bool gamma_correction, bool signed_gradient,
                       std::vector<std::int64_t> win_stride, std::vector<std::int64_t> padding,
                       std::optional<Tensor> locations) {
  constexpr const char* kOp = "hog_descriptors";
  const HogDescriptor descriptor =
      hog_descriptor(kOp, geometry, win_sigma, l2_hys_threshold, gamma_correction, signed_gradient);
  const HogOptions options = hog_options(kOp, win_stride, padding);
  const TensorView where = hog_locations(kOp, locations);
  const std::vector<HogHit> windows = descriptor.windows(kOp, view(image), options, where);
  Tensor out =
      empty({static_cast<std::int64_t>(windows.size()), descriptor.geometry().size()}, image, ScalarType::Float);
  descriptor.compute(view(image), options, where, windows, view(out).ptr<float>());
  return out;
}

std::tuple<Tensor, Tensor> hog_detect(const Tensor& image, std::vector<std::int64_t> geometry, double win_sigma,
                                      double l2_hys_threshold, bool gamma_correction, bool signed_gradient,
                                      const Tensor& coefficients, double hit_threshold,
                                      std::vector<std::int64_t> win_stride, std::vector<std::int64_t> padding,
                                      double scale, std::int64_t min_neighbors) {
  constexpr const char* kOp = "hog_detect";
  const HogDescriptor plain =
      hog_descriptor(kOp, geometry, win_sigma, l2_hys_threshold, gamma_correction, signed_gradient);
  const HogDescriptor descriptor = plain.with_svm(hog_coefficients(kOp, coefficients));
  HogOptions options = hog_options(kOp, win_stride, padding);
  options.hit_threshold = hit_threshold, options.scale = scale, options.min_neighbors = min_neighbors;
  const HogDetections found = descriptor.detect_multi_scale(kOp, view(image), options);
  const auto count = static_cast<std::int64_t>(found.boxes.size());
  Tensor boxes = empty({count, 4}, image, ScalarType::Int), scores = empty({count}, image, ScalarType::Double);
  std::copy(found.boxes.begin(), found.boxes.end(), view(boxes).ptr<Rectangle>());
  std::copy(found.scores.begin(), found.scores.end(), view(scores).ptr<double>());
  return {boxes, scores};
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "hog_descriptors(Tensor image, int[] geometry, float win_sigma, float l2_hys_threshold, bool gamma_correction, "
      "bool signed_gradient, int[] win_stride, int[] padding, Tensor? locations) -> Tensor");
  m.def(
      "hog_detect(Tensor image, int[] geometry, float win_sigma, float l2_hys_threshold, bool gamma_correction, "
      "bool signed_gradient, Tensor coefficients, float hit_threshold, int[] win_stride, int[] padding, float scale, "
      "int min_neighbors) -> (Tensor boxes, Tensor scores)");
}

SACCADE_TORCH_CPU(m) {
  m.impl("hog_descriptors", SACCADE_BOX(hog_descriptors));
  m.impl("hog_detect", SACCADE_BOX(hog_detect));
}

}  // namespace saccade::bind_torch
