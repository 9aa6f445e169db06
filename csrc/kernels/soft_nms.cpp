#include "kernels/soft_nms.h"

#include "isa/exp.h"
#include "isa/simd.h"

// Each round takes the best candidate and lowers the scores of the others: one sweep that decays, drops what fell below
// the score threshold, closes the gaps, and finds the best of the next round. Lanes are candidates; they stay in order
// of index, so that the first of equal scores has the lowest.
namespace saccade::SACCADE_ISA {
namespace {

template <class T>
struct Best {
  T score = 0;
  std::int64_t index = -1;  // none
};

// Lane by lane, the best score so far. NaN beats everything, an equal score nothing.
template <class T>
struct BestLanes {
  Vec<T> score{};
  Mask<Vec<T>> index = Mask<Vec<T>>{} - 1;

  void take(Vec<T> other, Mask<Vec<T>> other_index, Mask<Vec<T>> valid) {
    const Mask<Vec<T>> better = (other > score) | ((other != other) & (score == score)) | (index < 0);
    score = valid & better ? other : score;
    index = valid & better ? other_index : index;
  }
  Best<T> reduce() const {
    Best<T> best;
    for (int i = 0; i < kLanes<T>; ++i) {
      if (index[i] < 0) continue;
      const T s = score[i];
      const bool both_nan = s != s && best.score != best.score, equal = s == best.score || both_nan;
      const bool better = equal ? index[i] < best.index : s > best.score || s != s;
      if (best.index < 0 || better) best = {s, static_cast<std::int64_t>(index[i])};
    }
    return best;
  }
};

// The scores after the taken box has decayed them, and which of them it drops outright.
template <SoftNmsMethod kMethod, class T>
SACCADE_HD Vec<T> decay(const SoftNmsProblem<T>& problem, const SoftNmsTaken<Vec<T>>& taken, std::int64_t i,
                        Vec<T> score, Mask<Vec<T>>& dropped) {
  using V = Vec<T>;
  const V zero{};
  const V iou = soft_nms_iou(taken, load<V>(problem.x1 + i), load<V>(problem.y1 + i), load<V>(problem.x2 + i),
                             load<V>(problem.y2 + i));
  if constexpr (kMethod == SoftNmsMethod::kGaussian) {
    const Mask<V> overlaps = iou > zero;
    if (!any(overlaps)) return score;
    return overlaps ? score * exp_nonpositive(iou * iou / -problem.sigma) : score;
  }
  const Mask<V> overlaps = iou > problem.iou_threshold;
  if constexpr (kMethod == SoftNmsMethod::kNaive) {
    dropped |= overlaps;
    return score;
  }
  return overlaps ? score * (1 - iou) : score;
}

// One round: without the box `taken` (index -1 before the first). Returns the number of candidates left.
template <SoftNmsMethod kMethod, class T>
std::int64_t sweep(const SoftNmsProblem<T>& problem, std::int64_t count, std::int64_t taken_index, Best<T>& best) {
  using V = Vec<T>;
  using I = Mask<V>;
  const T* box = problem.boxes + (taken_index < 0 ? 0 : 4 * taken_index);
  const SoftNmsTaken<V> taken = {splat<V>(box[0]), splat<V>(box[1]), splat<V>(box[2]), splat<V>(box[3]),
                                 splat<V>((box[2] - box[0]) * (box[3] - box[1]))};
  const I removed = I{} + static_cast<Element<I>>(taken_index);
  BestLanes<T> lanes;
  std::int64_t left = 0;
  for (std::int64_t i = 0; i < count; i += kLanes<T>) {
    const I index = load<I>(problem.index + i);
    V score = load<V>(problem.score + i);
    I dropped = (index == removed) | (iota<I>() >= static_cast<Element<I>>(count - i < 64 ? count - i : 64));
    if (taken_index >= 0) score = decay<kMethod>(problem, taken, i, score, dropped);
    dropped |= score < problem.score_threshold;
    lanes.take(score, index, ~dropped);
    const std::uint64_t stay = mask_bits(~dropped);
    // Writes reach at most to the end of what was just read. Most registers stay whole.
    const bool whole = stay == (std::uint64_t{1} << kLanes<T>)-1;
    for (T* array : {problem.x1, problem.y1, problem.x2, problem.y2}) {
      if (whole && left == i) break;
      const V values = load<V>(array + i);
      store(array + left, whole ? values : compress(stay, values));
    }
    store(problem.score + left, whole ? score : compress(stay, score));
    store(problem.index + left, whole ? index : compress(stay, index));
    left += __builtin_popcountll(stay);
  }
  best = lanes.reduce();
  return left;
}

template <SoftNmsMethod kMethod, class T>
std::int64_t select_by(const SoftNmsProblem<T>& problem, std::int64_t* keep, T* scores) {
  Best<T> best;
  std::int64_t taken = 0;
  for (std::int64_t count = sweep<kMethod>(problem, problem.count, -1, best); best.index >= 0;) {
    keep[taken] = best.index;
    scores[taken++] = best.score;
    count = sweep<kMethod>(problem, count, best.index, best);
  }
  return taken;
}

template <class T>
std::int64_t select_boxes(const SoftNmsProblem<T>& problem, std::int64_t* keep, T* scores) {
  switch (problem.method) {
    case SoftNmsMethod::kNaive: return select_by<SoftNmsMethod::kNaive>(problem, keep, scores);
    case SoftNmsMethod::kLinear: return select_by<SoftNmsMethod::kLinear>(problem, keep, scores);
    case SoftNmsMethod::kGaussian: break;
  }
  return select_by<SoftNmsMethod::kGaussian>(problem, keep, scores);
}

}  // namespace

const SoftNmsKernels soft_nms_kernels = {select_boxes<float>, select_boxes<double>};

}  // namespace saccade::SACCADE_ISA
