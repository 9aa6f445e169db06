// Gaussian mixtures and contrast weights of GrabCut (Rother, Kolmogorov and Blake 2004), a register of pixels at a
// time.
//
// Floats: a likelihood ratio of log p is right within about 1e-5 of its size, and the sum over components is taken
// around its largest term, so that no colour is too far from all of them for it to have a logarithm. A register whose
// pixels are all on one side, or all certain, leaves out the other side's work: most are.
#include "kernels/grab_cut.h"

#include "isa/exp.h"
#include "isa/simd.h"

namespace saccade::SACCADE_ISA {
namespace {

constexpr int kN = kLanes<float>;
using F = Vec<float>;
using I = Vec<std::int32_t>;
using Bytes = Vec<std::uint8_t, kN>;

struct Colour {
  F a, b, c;
};

SACCADE_HD F bytes_at(const std::uint8_t* p) {
  return __builtin_convertvector(__builtin_convertvector(load<Bytes>(p), I), F);
}
SACCADE_HD Colour colour_at(const GrabPlanes& planes, std::int64_t i) {
  return {bytes_at(planes.a + i), bytes_at(planes.b + i), bytes_at(planes.c + i)};
}

SACCADE_HD F half_distance(const GrabComponent& g, const Colour& x) {
  const F a = x.a - splat<F>(g.mean[0]), b = x.b - splat<F>(g.mean[1]), c = x.c - splat<F>(g.mean[2]);
  const F u = a * splat<F>(g.root[0]);
  const F v = fma(b, splat<F>(g.root[2]), a * splat<F>(g.root[1]));
  const F w = fma(c, splat<F>(g.root[5]), fma(b, splat<F>(g.root[4]), a * splat<F>(g.root[3])));
  return fma(w, w, fma(v, v, u * u)) * splat<F>(0.5f);
}

SACCADE_HD I densest(const GrabSide& side, const Colour& x) {
  F best = splat<F>(side.components[0].log_peak) - half_distance(side.components[0], x);
  I index = splat<I>(side.components[0].index);
  for (int k = 1; k < side.count; ++k) {
    const F score = splat<F>(side.components[k].log_peak) - half_distance(side.components[k], x);
    index = score > best ? splat<I>(side.components[k].index) : index;
    best = max(score, best);
  }
  return index;
}

void assign(const GrabPlanes& planes, const std::uint8_t* mask, std::int64_t begin, std::int64_t end,
            const GrabSide* sides, std::uint8_t* component) {
  for (std::int64_t i = begin; i < end; i += kN) {
    const I front = (__builtin_convertvector(load<Bytes>(mask + i), I) & splat<I>(1)) != 0;
    const Colour x = colour_at(planes, i);
    const std::uint64_t bits = mask_bits(front), all = (std::uint64_t{1} << kN) - 1;
    I index{};
    if (bits != all) index = densest(sides[0], x);
    if (bits != 0) index = select(front, densest(sides[1], x) + splat<I>(kGrabComponents), index);
    store<Bytes>(component + i, __builtin_convertvector(index, Bytes));
  }
}

// log(x) for 1 <= x < 8: x = 2^n m with m around 1, log m from the series of artanh((m - 1) / (m + 1)).
SACCADE_HD F log_of(F x) {
  const I bits = (I)x;
  const I n = (bits - splat<I>(0x3f3504f3)) >> 23;
  const F m = (F)(bits - (n << 23));
  const F t = (m - splat<F>(1.0f)) / (m + splat<F>(1.0f)), s = t * t;
  F series = splat<F>(2.0f / 9);
  for (const float term : {2.0f / 7, 2.0f / 5, 2.0f / 3, 2.0f}) series = fma(series, s, splat<F>(term));
  return fma(__builtin_convertvector(n, F), splat<F>(0.69314718f), series * t);
}

SACCADE_HD F log_likelihood(const GrabSide& side, const Colour& x) {
  F terms[kGrabComponents];
  F largest{};
  for (int k = 0; k < side.count; ++k) {
    terms[k] = splat<F>(side.components[k].log_weight) - half_distance(side.components[k], x);
    largest = k == 0 ? terms[k] : max(terms[k], largest);
  }
  F sum{};
  for (int k = 0; k < side.count; ++k) sum += exp_nonpositive(terms[k] - largest);
  return largest + log_of(sum);
}

SACCADE_HD I rounded(F x) {
  const F half = x < splat<F>(0.0f) ? splat<F>(-0.5f) : splat<F>(0.5f);
  return __builtin_convertvector(x + half, I);
}

void unary(const GrabPlanes& planes, const std::uint8_t* mask, std::int64_t begin, std::int64_t end,
           const GrabSide* sides, float hard, std::int32_t* excess) {
  for (std::int64_t i = begin; i < end; i += kN) {
    const I m = __builtin_convertvector(load<Bytes>(mask + i), I);
    F value = m == splat<I>(1) ? splat<F>(hard) : splat<F>(-hard);
    const I open = m >= splat<I>(2);
    if (any(open)) {
      const Colour x = colour_at(planes, i);
      const F ratio = (log_likelihood(sides[1], x) - log_likelihood(sides[0], x)) * splat<F>(kGrabScale);
      value = select(open, max(min(ratio, splat<F>(kGrabLargest)), splat<F>(-kGrabLargest)), value);
    }
    const I result = rounded(value);
    const std::int64_t n = end - i;
    if (n >= kN)
      store<I>(excess + i, result);
    else
      store_partial<I>(excess + i, result, n);
  }
}

SACCADE_HD F distance_ahead(const GrabPlanes& planes, std::int64_t i, std::int64_t ahead) {
  const Colour x = colour_at(planes, i), y = colour_at(planes, i + ahead);
  const F a = x.a - y.a, b = x.b - y.b, c = x.c - y.c;
  return fma(c, c, fma(b, b, a * a));  // an integer below 2^18: exact
}

void weights(const GrabPlanes& planes, std::int64_t begin, std::int64_t end, std::int64_t ahead, float beta, float peak,
             std::int32_t* weights) {
  for (std::int64_t i = begin; i < end; i += kN) {
    const F w = splat<F>(peak) * exp_nonpositive(splat<F>(-beta) * distance_ahead(planes, i, ahead));
    const I result = rounded(w);
    if (end - i >= kN)
      store<I>(weights + i, result);
    else
      store_partial<I>(weights + i, result, end - i);
  }
}

std::uint64_t differences(const GrabPlanes& planes, std::int64_t begin, std::int64_t end, std::int64_t ahead) {
  std::uint32_t sum = 0;  // 2^14 * 3 * 255^2 < 2^32
  for (const std::uint8_t* plane : {planes.a, planes.b, planes.c})
    for (std::int64_t i = begin; i < end; ++i) {
      const int d = plane[i] - plane[i + ahead];
      sum += static_cast<std::uint32_t>(d * d);
    }
  return sum;
}

}  // namespace

const GrabCutKernels grab_cut_kernels = {assign, unary, weights, differences};

}  // namespace saccade::SACCADE_ISA
