#include "ops/soft_nms.h"

#include <algorithm>

#include "common/dispatch.h"
#include "cuda/common/torch.h"
#include "cuda/kernels/soft_nms.h"
#include "math/half.h"
#include "ops/suppression.h"

namespace saccade::cuda {
namespace {

// How many rounds there are, only the device knows: the host asks after so many, then after twice as many.
constexpr std::int64_t kFirstRounds = 64, kMostRounds = 1024;

std::tuple<Tensor, Tensor> soft_nms(const Tensor& boxes, const Tensor& scores, double iou_threshold, double sigma,
                                    double score_threshold, std::int64_t method) {
  check_soft_nms(view(boxes), view(scores), iou_threshold, sigma, score_threshold, method);
  const DeviceOf device(boxes);
  const std::int64_t count = boxes.size(0);
  Tensor keep = empty({count}, boxes, ScalarType::Long);
  if (count == 0) return {keep, empty({0}, scores)};
  const Tensor total = empty({1}, boxes, ScalarType::Long);
  auto* taken = view(total).ptr<std::int64_t>();
  check(cudaMemsetAsync(taken, 0, sizeof *taken, device.stream()), "clearing of CUDA memory");
  return dispatch_floating(view(boxes).dtype, [&](auto tag) {
    using A = decltype(to_float(typename decltype(tag)::type{}));
    using Candidate = SoftNmsCandidate<A>;
    const SoftNmsShape shape = soft_nms_shape(count);
    const Tensor rows = scratch<Pack<A, 4>>(count, boxes), places = scratch<Candidate>(count, boxes);
    const Tensor left = scratch<std::int32_t>(std::int64_t{shape.blocks} * shape.threads, boxes);
    const Tensor best = scratch<Candidate>(2 * std::int64_t{shape.blocks}, boxes),
                 taken_scores = scratch<A>(count, boxes);
    const SoftNmsBoxes<A> all = {count, view(rows).template ptr<Pack<A, 4>>(), view(places).template ptr<Candidate>(),
                                 view(left).template ptr<std::int32_t>(), view(best).template ptr<Candidate>()};
    const SoftNmsRule<A> rule = {static_cast<SoftNmsMethod>(method), largest_not_above<A>(iou_threshold),
                                 static_cast<A>(sigma), static_cast<A>(score_threshold)};
    auto* kept_scores = view(taken_scores).template ptr<A>();
    launch_soft_nms_start<A>(view(boxes), view(scores), all, rule, device.stream());
    std::int64_t round = 0, kept = 0;
    for (std::int64_t rounds = kFirstRounds; round < count && kept == round;
         rounds = std::min(2 * rounds, kMostRounds)) {
      rounds = std::min(rounds, count - round);
      launch_soft_nms_rounds<A>(all, rule, round, rounds, view(keep).template ptr<std::int64_t>(), kept_scores, taken,
                                device.stream());
      round += rounds;
      kept = read_value(taken, device.stream());
    }
    const Tensor out = empty({kept}, scores);
    launch_soft_nms_scores<A>(kept_scores, view(out), device.stream());
    return std::tuple<Tensor, Tensor>(torch::stable::narrow(keep, 0, 0, kept), out);
  });
}

}  // namespace

SACCADE_TORCH_CUDA(m) { m.impl("soft_nms", SACCADE_BOX(soft_nms)); }

}  // namespace saccade::cuda
