// The first stage takes a register of consecutive windows: every corner of a feature is one contiguous load. What it
// leaves is sparse (with frontalface_default 7 windows of 16 go on, 3 by the fourth stage) but comes in clusters: later
// stages work on quads, four consecutive windows that begin with a candidate, two quads at once, and a quad leaves the
// list with its last candidate. By its arithmetic slots (8 joins, 16 operations, 3 ports) a node takes 8 cycles for
// two quads. frontalface_default, 1920 x 1080: 99 ms; 113 ms with whole registers in all stages. Gathers would need as
// many load slots for a single window as this does for a quad.
//
// The decisions equal OpenCV's bit for bit. Feature values are computed in its order of float operations, or in
// integers where every one of those is exact (ops/cascade_plan.cpp decides). Stage sums, there in double, are screened
// in float; the few windows within the float sum's error of the threshold are summed again exactly.
#include "kernels/cascade.h"

#include "isa/simd.h"
#include "kernels/cascade_nodes.h"
#include "kernels/cascade_window.h"

namespace saccade::SACCADE_ISA {
namespace {

constexpr int kWord = 64;  // windows per word of bits
constexpr std::uint64_t kLanesBits = ~std::uint64_t{0} >> (64 - kWidth);

// ---- Stages ----

template <class Windows>
SACCADE_HD M<Windows> node_left(const CascadePlan& plan, std::int32_t node, const Windows& at, V<Windows> scale) {
  if (!plan.haar) return goes_left(plan.lbp_nodes[node], at);
  return goes_left(plan.haar_nodes[node], plan.forms[node], at, scale);
}

template <CascadeForm form, class Windows>
V<Windows> haar_stumps(const CascadePlan& plan, const CascadeRun& run, const Windows& at, V<Windows> scale) {
  const CascadeHaarNode* node = plan.haar_nodes + run.node;
  const float* leaf = plan.leaves + run.leaf;
  V<Windows> sum{};
  for (std::int32_t t = 0; t < run.tree_count; ++t, leaf += 2)
    sum += select(goes_left<form>(node[t], at, scale), splat<V<Windows>>(leaf[0]), splat<V<Windows>>(leaf[1]));
  return sum;
}

template <class Windows>
V<Windows> lbp_stumps(const CascadePlan& plan, const CascadeRun& run, const Windows& at) {
  const CascadeLbpNode* node = plan.lbp_nodes + run.node;
  const float* leaf = plan.leaves + run.leaf;
  V<Windows> sum{};
  for (std::int32_t t = 0; t < run.tree_count; ++t, leaf += 2)
    sum += select(goes_left(node[t], at), splat<V<Windows>>(leaf[0]), splat<V<Windows>>(leaf[1]));
  return sum;
}

template <class Windows>
V<Windows> pairs(const CascadePlan& plan, const CascadeRun& run, const Windows& at, V<Windows> scale) {
  V<Windows> sum{};
  const float* leaf = plan.leaves + run.leaf;
  for (std::int32_t t = 0; t < run.tree_count; ++t, leaf += 4) {
    const M<Windows> first = node_left(plan, run.node + 2 * t, at, scale),
                     second = node_left(plan, run.node + 2 * t + 1, at, scale);
    sum += select(first, select(second, splat<V<Windows>>(leaf[0]), splat<V<Windows>>(leaf[1])),
                  select(second, splat<V<Windows>>(leaf[2]), splat<V<Windows>>(leaf[3])));
  }
  return sum;
}

// The sum over a tree's leaf in each lane, by walking it once for the windows that are at each node.
template <class Windows>
V<Windows> tree(const CascadePlan& plan, const CascadeRun& run, const Windows& at, V<Windows> scale) {
  constexpr int kMaxNodes = kMaxCascadeTree;
  V<Windows> sum{};
  I<Windows> here[kMaxNodes];  // the lanes that reach each node
  for (std::int32_t t = 0; t < run.tree_count; ++t) {
    const std::int32_t node = run.node + t * run.nodes_per_tree;
    const float* leaf = plan.leaves + run.leaf + t * (run.nodes_per_tree + 1);
    here[0] = I<Windows>{} - 1;
    for (std::int32_t n = 0; n < run.nodes_per_tree; ++n) {
      const M<Windows> left = node_left(plan, node + n, at, scale);
      for (int side = 0; side < 2; ++side) {
        const I<Windows> lanes = here[n] & (side == 0 ? (I<Windows>)left : ~(I<Windows>)left);
        const std::int32_t child = plan.children[2 * (node + n) + side];
        if (child > 0)
          here[child] = lanes;
        else
          sum += select((M<Windows>)lanes, splat<V<Windows>>(leaf[-child]), V<Windows>{});
      }
    }
  }
  return sum;
}

template <class Windows>
V<Windows> run_sum(const CascadePlan& plan, const CascadeRun& run, const Windows& at, V<Windows> scale) {
  if (run.nodes_per_tree == 2) return pairs(plan, run, at, scale);
  if (run.nodes_per_tree != 1) return tree(plan, run, at, scale);
  if (!plan.haar) return lbp_stumps(plan, run, at);
  switch (plan.forms[run.node]) {
    case CascadeForm::kEdge: return haar_stumps<CascadeForm::kEdge>(plan, run, at, scale);
    case CascadeForm::kQuad: return haar_stumps<CascadeForm::kQuad>(plan, run, at, scale);
    case CascadeForm::kRects3: return haar_stumps<CascadeForm::kRects3>(plan, run, at, scale);
    case CascadeForm::kRects2: break;
  }
  return haar_stumps<CascadeForm::kRects2>(plan, run, at, scale);
}

// ---- Rows ----

double exact_sum(const CascadePlan& plan, const CascadeStage& stage, Corner at, float scale) {
  return stage_sum_one(plan, stage, at, scale);
}

// The windows of `alive` that pass the stage.
template <class Windows>
std::uint64_t pass(const CascadePlan& plan, const CascadeStage& stage, const Windows& at, V<Windows> scale,
                   std::uint64_t alive) {
  V<Windows> sum{};
  for (std::int32_t r = 0; r < stage.run_count; ++r) sum += run_sum(plan, plan.runs[stage.first_run + r], at, scale);
  const std::uint64_t accepted = mask_bits(sum >= splat<V<Windows>>(stage.accept));
  std::uint64_t doubtful = alive & ~accepted & ~mask_bits(sum < splat<V<Windows>>(stage.reject));
  std::uint64_t passed = alive & accepted;
  for (; doubtful != 0; doubtful &= doubtful - 1) {
    const int k = __builtin_ctzll(doubtful);
    if (!(exact_sum(plan, stage, at.at(k), scale[k]) < stage.threshold)) passed |= std::uint64_t{1} << k;
  }
  return passed;
}

// The windows with enough contrast, and their scale, 1 / (area * standard deviation); LBP takes all.
std::uint64_t contrast(const CascadePlan& plan, Corner at, float* scale) {
  constexpr int kHalf = kWidth / 2;
  using D = Vec<double, kHalf>;
  if (!plan.haar) return kLanesBits;
  const std::int32_t* o = plan.norm_offset;
  const Neighbours sums{at}, squared{at + plan.square_offset};
  const U<Neighbours> sum = fetch(sums, o[0]) - fetch(sums, o[1]) - fetch(sums, o[2]) + fetch(sums, o[3]);
  const U<Neighbours> squares =
      fetch(squared, o[0]) - fetch(squared, o[1]) - fetch(squared, o[2]) + fetch(squared, o[3]);
  std::uint64_t bits = 0;
  D variance[2];
  for (int half = 0; half < 2; ++half) {
    Vec<std::int32_t, kHalf> s;
    Vec<std::uint32_t, kHalf> q;
    std::memcpy(&s, reinterpret_cast<const char*>(&sum) + half * sizeof(s), sizeof(s));
    std::memcpy(&q, reinterpret_cast<const char*>(&squares) + half * sizeof(q), sizeof(q));
    const D total = __builtin_convertvector(s, D);
    variance[half] = splat<D>(plan.area) * __builtin_convertvector(q, D) - total * total;
    bits |= mask_bits(variance[half] > splat<D>(plan.least_variance)) << (half * kHalf);
  }
  if (bits == 0) return 0;
  double value[kWidth];
  store<D>(value, variance[0]);
  store<D>(value + kHalf, variance[1]);
  for (int k = 0; k < kWidth; ++k) scale[k] = static_cast<float>(1.0 / __builtin_sqrt(value[k]));
  return bits;
}

// OpenCV steps over the window behind one that the first stage rejects (not behind one without contrast). Given the
// rejections as bits, a window is stepped over when the one before is rejected and was not itself stepped over: in a
// run of ones that begins at an even bit, the odd bits and the one behind an odd-length run. Adding the run's first bit
// to the word carries through the run and marks it and the bit behind it. `carry`: bit 0 is stepped over; updated for
// the next.
std::uint64_t stepped_over(std::uint64_t rejected, std::uint64_t& carry) {
  constexpr std::uint64_t kEven = 0x5555555555555555u;
  const std::uint64_t runs = rejected & ~carry;
  const std::uint64_t starts = runs & ~(runs << 1);
  const std::uint64_t from_even = ((runs + (starts & kEven)) ^ runs) & ~kEven;
  const std::uint64_t from_odd = ((runs + (starts & ~kEven)) ^ runs) & kEven;
  const std::uint64_t over = from_even | from_odd | carry;
  carry = (rejected & ~over) >> 63;
  return over;
}

// The first stage on windows first .. first + 63: which of them it leaves, and in `rejected` those that it turns away.
std::uint64_t first_stage(const CascadePlan& plan, const CascadeRow& row, std::int64_t first, std::uint64_t& rejected) {
  std::uint64_t passed = 0;
  rejected = 0;
  for (int k = 0; k < kWord && first + k < row.count; k += kWidth) {
    const Neighbours at{row.corners + first + k};
    float* scale = row.scale + first + k;
    std::uint64_t alive = contrast(plan, at.first, scale);
    const std::int64_t left = row.count - first - k;
    if (left < kWidth) alive &= (std::uint64_t{1} << left) - 1;
    if (alive == 0) continue;
    const std::uint64_t kept = pass(plan, plan.stages[0], at, load<V<Neighbours>>(scale), alive);
    rejected |= (alive & ~kept) << k;
    passed |= kept << k;
  }
  return passed;
}

// One stage on all quads; those with candidates left move to the front, in order.
std::int64_t later_stage(const CascadePlan& plan, const CascadeStage& stage, const CascadeRow& row,
                         std::int64_t count) {
  std::int64_t kept = 0;
  for (std::int64_t q = 0; q < count; q += kQuads) {
    Quads at;
    const float* scale[kQuads];
    std::uint64_t alive = 0;
    for (int k = 0; k < kQuads; ++k) {
      const CascadeQuad& quad = row.quads[q + k < count ? q + k : q];
      at.first[k] = row.corners + quad.first;
      scale[k] = row.scale + quad.first;
      if (q + k < count) alive |= std::uint64_t{quad.alive} << (4 * k);
    }
    const std::uint64_t passed = pass(plan, stage, at, join(scale, 0), alive);
    for (int k = 0; k < kQuads && q + k < count; ++k) {
      const std::uint32_t left = static_cast<std::uint32_t>(passed >> (4 * k)) & 15u;
      row.quads[kept] = {row.quads[q + k].first, left};
      kept += left != 0;
    }
  }
  return kept;
}

std::int64_t row(const CascadePlan& plan, const CascadeRow& row, CascadeHit* hits) {
  std::int64_t quads = 0;
  std::uint64_t carry = 0, rejected;
  for (std::int64_t first = 0; first < row.count; first += kWord) {
    std::uint64_t passed = first_stage(plan, row, first, rejected);
    passed &= ~stepped_over(rejected, carry);
    while (passed != 0) {
      const int k = __builtin_ctzll(passed);
      const std::uint64_t alive = passed >> k & 15u;
      row.quads[quads++] = {static_cast<std::int32_t>(first + k), static_cast<std::uint32_t>(alive)};
      passed &= ~(alive << k);
    }
  }
  for (std::int32_t s = 1; s < plan.stage_count && quads != 0; ++s)
    quads = later_stage(plan, plan.stages[s], row, quads);
  std::int64_t found = 0;
  for (std::int64_t q = 0; q < quads; ++q)
    for (std::uint32_t alive = row.quads[q].alive; alive != 0; alive &= alive - 1) {
      const std::int32_t x = row.quads[q].first + __builtin_ctz(alive);
      const double score = exact_sum(plan, plan.stages[plan.stage_count - 1], row.corners + x, row.scale[x]);
      hits[found++] = {x, 0, score};
    }
  return found;
}

}  // namespace

const CascadeKernels cascade_kernels = {row};

}  // namespace saccade::SACCADE_ISA
