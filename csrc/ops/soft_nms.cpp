#include "ops/soft_nms.h"

#include <cmath>

#include "common/dispatch.h"
#include "common/scratch.h"
#include "math/half.h"
#include "ops/checks.h"
#include "ops/suppression.h"

namespace saccade {
namespace {

std::int64_t select(const SoftNmsProblem<float>& problem, std::int64_t* keep, float* scores) {
  return soft_nms_kernels().select_float(problem, keep, scores);
}
std::int64_t select(const SoftNmsProblem<double>& problem, std::int64_t* keep, double* scores) {
  return soft_nms_kernels().select_double(problem, keep, scores);
}

template <class T>
SoftNmsResult soft_nms_typed(const TensorView& boxes, const TensorView& scores,
                             SoftNmsProblem<decltype(to_float(T{}))> problem) {
  using A = decltype(to_float(T{}));
  using Index = typename SoftNmsIndex<A>::type;
  const std::int64_t n = boxes.size(0), stride = n + kSoftNmsPadding;
  const Scratch<A> memory(5 * static_cast<std::size_t>(stride)), rows(4 * static_cast<std::size_t>(n));
  const Scratch<Index> index(static_cast<std::size_t>(stride));
  A* next = memory.data();
  for (A** array : {&problem.x1, &problem.y1, &problem.x2, &problem.y2, &problem.score}) {
    *array = next;
    for (std::int64_t i = n; i < stride; ++i) next[i] = 0;
    next += stride;
  }
  problem.index = index.data();
  problem.count = n;
  problem.boxes = rows.data();
  for (std::int64_t i = 0; i < stride; ++i) index[i] = static_cast<Index>(i);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t k = 0; k < 4; ++k)
      rows[4 * i + k] = to_float(boxes.ptr<T>()[i * boxes.stride(0) + k * boxes.stride(1)]);
    problem.x1[i] = rows[4 * i], problem.y1[i] = rows[4 * i + 1];
    problem.x2[i] = rows[4 * i + 2], problem.y2[i] = rows[4 * i + 3];
    problem.score[i] = to_float(scores.ptr<T>()[i * scores.stride(0)]);
  }
  SoftNmsResult result{std::vector<std::int64_t>(static_cast<std::size_t>(n)), {}};
  const Scratch<A> kept_scores(static_cast<std::size_t>(n));
  const std::int64_t count = select(problem, result.keep.data(), kept_scores.data());
  result.keep.resize(static_cast<std::size_t>(count));
  result.scores.assign(kept_scores.data(), kept_scores.data() + count);
  return result;
}

}  // namespace

void check_soft_nms(const TensorView& boxes, const TensorView& scores, double iou_threshold, double sigma,
                    double score_threshold, std::int64_t method) {
  require_shape("soft_nms", "boxes", boxes, "(N, 4)", {-1, 4});
  check_suppression("soft_nms", boxes, scores, iou_threshold, std::nullopt);
  require(sigma > 0, "soft_nms: sigma must be greater than 0, got ", sigma);
  require(!std::isnan(score_threshold), "soft_nms: score_threshold must be a number, got nan");
  require(method >= 0 && method <= 2, "soft_nms: method must be 0 (naive), 1 (linear) or 2 (gaussian), got ", method);
}

SoftNmsResult soft_nms(const TensorView& boxes, const TensorView& scores, double iou_threshold, double sigma,
                       double score_threshold, std::int64_t method) {
  check_soft_nms(boxes, scores, iou_threshold, sigma, score_threshold, method);
  return dispatch_floating(boxes.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    SoftNmsProblem<A> problem{};
    problem.method = static_cast<SoftNmsMethod>(method);
    problem.iou_threshold = largest_not_above<A>(iou_threshold);
    problem.sigma = static_cast<A>(sigma);
    problem.score_threshold = static_cast<A>(score_threshold);
    return soft_nms_typed<T>(boxes, scores, problem);
  });
}

}  // namespace saccade
