#include "ops/soft_nms.h"

#include "bind_torch/tensor.h"
#include "common/dispatch.h"
#include "math/half.h"

namespace saccade::bind_torch {
namespace {

std::tuple<Tensor, Tensor> soft_nms(const Tensor& boxes, const Tensor& scores, double iou_threshold, double sigma,
                                    double score_threshold, std::int64_t method) {
  const SoftNmsResult result =
      saccade::soft_nms(view(boxes), view(scores), iou_threshold, sigma, score_threshold, method);
  const std::size_t count = result.scores.size();
  Tensor kept_scores = empty({static_cast<std::int64_t>(count)}, scores);
  dispatch_floating(view(scores).dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (std::size_t i = 0; i < count; ++i) {
      const auto score = static_cast<decltype(to_float(T{}))>(result.scores[i]);
      view(kept_scores).ptr<T>()[i] = from_float<T>(score);
    }
  });
  return {from_vector(result.keep), kept_scores};
}

}  // namespace

SACCADE_TORCH_SCHEMAS(m) {
  m.def(
      "soft_nms(Tensor boxes, Tensor scores, float iou_threshold, float sigma, float score_threshold, int method) "
      "-> (Tensor keep, Tensor kept_scores)");
}

SACCADE_TORCH_CPU(m) { m.impl("soft_nms", SACCADE_BOX(soft_nms)); }

}  // namespace saccade::bind_torch
