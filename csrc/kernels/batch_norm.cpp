// Batch normalisation, bound by memory: 25.7 MB read and as much written take about 1.5 ms on one core.
//
// The moments of a block are sums about a pivot, the mean of its first sixteenth. Whatever the data, the square of that
// mean's distance from the block's mean is at most 16 times the block's variance (the deviations of a part cannot add
// up to more than those of the whole), so that the subtraction that follows cancels a factor of 17 at most, as a rule
// none. The exact mean as pivot, by a second pass over a block in the first-level cache, was no more exact at an offset
// of 1e4, and no faster; prefetching 4 KiB ahead gained nothing. Blocks are combined in double. x - mean is taken
// before the product: folded into the shift, an offset of 1e4 costs three digits.
#include "kernels/batch_norm.h"

#include "isa/exp.h"
#include "kernels/streams.h"

namespace saccade::SACCADE_ISA {
namespace {

// Calls body(j, whole, lanes) on the registers of a run of `inner` elements, the first of `head` elements.
template <int kN, class Body>
SACCADE_HD void each_register(std::int64_t head, std::int64_t inner, const Body& body) {
  constexpr std::true_type whole;
  constexpr std::false_type part;
  std::int64_t j = head < inner ? head : inner;
  if (j > 0) body(std::int64_t{0}, part, j);
  for (; j + kN <= inner; j += kN) body(j, whole, std::int64_t{kN});
  if (j < inner) body(j, part, inner - j);
}

template <class V>
SACCADE_HD V first_lanes(V v, std::int64_t lanes) {
  return select(iota<V>() < splat<V>(static_cast<Element<V>>(lanes)), v, V{});
}

// ---- Writing --------------------------------------------------------------------------------------------------------

template <class A, bool kWhole, class T>
SACCADE_HD void write(T* p, Vec<A> v, std::int64_t lanes, bool streamed) {
  if constexpr (kWhole && std::is_same_v<A, T>) {
    if (streamed) return stream<Vec<A>>(p, v);
  }
  store_lanes<A, kWhole>(p, v, lanes);
}

// Elements before the first address that a register may be streamed to.
template <class T>
SACCADE_HD std::int64_t head_of(const T* p, bool streamed) {
  const auto past = reinterpret_cast<std::uintptr_t>(p) % SACCADE_VEC_BYTES;
  return streamed && past != 0 ? static_cast<std::int64_t>((SACCADE_VEC_BYTES - past) / sizeof(T)) : 0;
}

// Whether the sums of a block may stream what they write beside them: no register may begin within another.
template <bool kResidual, bool kInput, class T>
SACCADE_HD bool may_stream(const NormBackward<T>& b, const NormBlock& block) {
  if (!(kResidual || kInput) || !b.stream || block.stride % kLanes<T> != 0) return false;
  return (!kResidual || head_of(b.grad_residual + block.offset, true) == 0) &&
         (!kInput || head_of(b.grad_x + block.offset, true) == 0);
}

// ---- Sums of planes: four registers of each sum hide the latency of the additions -----------------------------------

// Calls body(register, offset, whole, lanes), four registers in turn.
template <int kN, class Body>
SACCADE_HD void each_of_four(const NormBlock& block, const Body& body) {
  constexpr std::true_type whole;
  for (std::int64_t i = 0; i < block.outer; ++i) {
    const std::int64_t run = block.offset + i * block.stride;
    std::int64_t j = 0;
    for (; j + 4 * kN <= block.inner; j += 4 * kN)
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) body(r, run + j + r * kN, whole, std::int64_t{kN});
    for (; j + kN <= block.inner; j += kN) body(0, run + j, whole, std::int64_t{kN});
    if (j < block.inner) body(1, run + j, std::false_type{}, block.inner - j);
  }
}

template <class V>
SACCADE_HD Element<V> sum_of_four(const V* sum) {
  return reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

template <class T>
void moments_planes(const T* x, const NormBlock& block, Accumulator<T>* partial, std::int64_t pitch) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  NormBlock part = block;
  if (block.outer > 1) {
    part.outer = (block.outer + 15) / 16;
  } else {
    part.inner = (block.inner + 15) / 16;
  }
  V sum[4] = {}, first[4] = {}, second[4] = {};
  each_of_four<kLanes<A>>(part, [&](int r, std::int64_t at, auto whole, std::int64_t lanes) {
    sum[r] += load_lanes<A, whole()>(x + at, lanes);
  });
  const A pivot = sum_of_four(sum) / static_cast<A>(part.outer * part.inner);
  const V pivots = splat<V>(pivot);
  each_of_four<kLanes<A>>(block, [&](int r, std::int64_t at, auto whole, std::int64_t lanes) {
    V deviation = load_lanes<A, whole()>(x + at, lanes) - pivots;
    if constexpr (!whole()) deviation = first_lanes(deviation, lanes);
    first[r] += deviation;
    second[r] = fma(deviation, deviation, second[r]);
  });
  partial[0] = pivot, partial[pitch] = sum_of_four(first), partial[2 * pitch] = sum_of_four(second);
}

template <Activation kKind, bool kResidual, bool kInput, class T>
void reduce_planes(const NormBackward<T>& b, const NormBlock& block, Accumulator<T>* partial, std::int64_t pitch) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  V first[4] = {}, second[4] = {};
  const V mean = splat<V>(b.mean[block.channel]), scale = splat<V>(b.scale[block.channel]);
  const bool streamed = may_stream<kResidual, kInput>(b, block);
  each_of_four<kLanes<A>>(block, [&](int r, std::int64_t at, auto whole, std::int64_t lanes) {
    V g = load_lanes<A, whole()>(b.grad + at, lanes);
    if constexpr (kKind != Activation::kNone)
      g = activation_gradient<kKind>(g, load_lanes<A, whole()>(b.out + at, lanes));
    if constexpr (kResidual) write<A, whole()>(b.grad_residual + at, g, lanes, streamed);
    if constexpr (kInput) write<A, whole()>(b.grad_x + at, g * scale, lanes, streamed);
    V product = g * (load_lanes<A, whole()>(b.x + at, lanes) - mean);
    if constexpr (!whole()) product = first_lanes(product, lanes);
    first[r] += g;
    second[r] += product;
  });
  partial[0] = sum_of_four(first), partial[pitch] = sum_of_four(second);
  if (streamed) stream_fence();
}

// ---- Sums of rows: all channels of four rows in turn, sums in memory, so that memory is read in order ---------------

// Calls body(R, at, j, whole, lanes): R rows from element `at` on, channels from j.
template <int kN, class Body>
SACCADE_HD void each_four_rows(const NormBlock& block, const Body& body) {
  std::int64_t i = 0;
  const auto group = [&](auto rows) {
    const std::int64_t at = block.offset + i * block.stride;
    each_register<kN>(0, block.inner,
                      [&](std::int64_t j, auto whole, std::int64_t lanes) { body(rows, at + j, j, whole, lanes); });
  };
  for (; i + 4 <= block.outer; i += 4) group(std::integral_constant<int, 4>{});
  for (; i < block.outer; ++i) group(std::integral_constant<int, 1>{});
}

template <class T>
void moments_rows(const T* x, const NormBlock& block, Accumulator<T>* partial, std::int64_t pitch) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  constexpr int kN = kLanes<A>;
  A *pivot = partial, *first = partial + pitch, *second = partial + 2 * pitch;
  for (std::int64_t j = 0; j < 3 * pitch; ++j) partial[j] = 0;
  NormBlock part = block;
  part.outer = (block.outer + 15) / 16;
  each_four_rows<kN>(part, [&](auto rows, std::int64_t at, std::int64_t j, auto whole, std::int64_t lanes) {
    V sum = load<V>(pivot + j);
    for (int r = 0; r < rows(); ++r) sum += load_lanes<A, whole()>(x + at + r * block.stride, lanes);
    store(pivot + j, sum);
  });
  const A inverse = A(1) / static_cast<A>(part.outer);
  for (std::int64_t j = 0; j < pitch; ++j) pivot[j] *= inverse;
  each_four_rows<kN>(block, [&](auto rows, std::int64_t at, std::int64_t j, auto whole, std::int64_t lanes) {
    const V pivots = load<V>(pivot + j);
    V sum = load<V>(first + j), squares = load<V>(second + j);
    for (int r = 0; r < rows(); ++r) {
      const V deviation = load_lanes<A, whole()>(x + at + r * block.stride, lanes) - pivots;
      sum += deviation;
      squares = fma(deviation, deviation, squares);
    }
    store(first + j, sum), store(second + j, squares);
  });
}

template <Activation kKind, bool kResidual, bool kInput, class T>
void reduce_rows(const NormBackward<T>& b, const NormBlock& block, Accumulator<T>* partial, std::int64_t pitch) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  A *first = partial, *second = partial + pitch;
  const bool streamed = may_stream<kResidual, kInput>(b, block);
  for (std::int64_t j = 0; j < 2 * pitch; ++j) partial[j] = 0;
  each_four_rows<kLanes<A>>(block, [&](auto rows, std::int64_t at, std::int64_t j, auto whole, std::int64_t lanes) {
    const V mean = load<V>(b.mean + j), scale = load<V>(b.scale + j);
    V sum = load<V>(first + j), products = load<V>(second + j);
    for (int r = 0; r < rows(); ++r) {
      const std::int64_t from = at + r * block.stride;
      V g = load_lanes<A, whole()>(b.grad + from, lanes);
      if constexpr (kKind != Activation::kNone)
        g = activation_gradient<kKind>(g, load_lanes<A, whole()>(b.out + from, lanes));
      if constexpr (kResidual) write<A, whole()>(b.grad_residual + from, g, lanes, streamed);
      if constexpr (kInput) write<A, whole()>(b.grad_x + from, g * scale, lanes, streamed);
      sum += g;
      products = fma(g, load_lanes<A, whole()>(b.x + from, lanes) - mean, products);
    }
    store(first + j, sum), store(second + j, products);
  });
  if (streamed) stream_fence();
}

// ---- Element by element ---------------------------------------------------------------------------------------------

// The value of a channel, or of each channel of a row.
template <bool kRows, class A>
struct ByChannel {
  const A* values;
  Vec<A> all;
};
template <bool kRows, class A>
SACCADE_HD ByChannel<kRows, A> by_channel(const A* values, std::int64_t channel) {
  return {values, kRows ? Vec<A>{} : splat<Vec<A>>(values[channel])};
}
template <bool kRows, class A>
SACCADE_HD Vec<A> at(const ByChannel<kRows, A>& channels, std::int64_t j) {
  if constexpr (kRows) return load<Vec<A>>(channels.values + j);
  return channels.all;
}

template <Activation kKind, bool kResidual, bool kRows, class T>
void normalize_with(const NormForward<T>& f, const NormBlock& block) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  const auto mean = by_channel<kRows>(f.mean, block.channel), scale = by_channel<kRows>(f.scale, block.channel),
             shift = by_channel<kRows>(f.shift, block.channel);
  for (std::int64_t i = 0; i < block.outer; ++i) {
    const std::int64_t run = block.offset + i * block.stride;
    const T *x = f.x + run, *residual = kResidual ? f.residual + run : nullptr;
    T* out = f.out + run;
    each_register<kLanes<A>>(head_of(out, f.stream), block.inner, [&](std::int64_t j, auto whole, std::int64_t lanes) {
      const V deviation = load_lanes<A, whole()>(x + j, lanes) - at(mean, j);
      V y = fma(deviation, at(scale, j), at(shift, j));
      if constexpr (kResidual) y += load_lanes<A, whole()>(residual + j, lanes);
      write<A, whole()>(out + j, activate<kKind, RegisterArithmetic>(y), lanes, f.stream);
    });
  }
  if (f.stream) stream_fence();
}

template <Activation kKind, bool kResidual, bool kRows, class T>
void gradient_with(const NormBackward<T>& b, const NormBlock& block) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  const auto mean = by_channel<kRows>(b.mean, block.channel), scale = by_channel<kRows>(b.scale, block.channel),
             slope = by_channel<kRows>(b.slope, block.channel), shift = by_channel<kRows>(b.shift, block.channel);
  for (std::int64_t i = 0; i < block.outer; ++i) {
    const std::int64_t run = block.offset + i * block.stride;
    each_register<kLanes<A>>(head_of(b.grad_x + run, b.stream), block.inner,
                             [&](std::int64_t j, auto whole, std::int64_t lanes) {
                               V g = load_lanes<A, whole()>(b.grad + run + j, lanes);
                               if constexpr (kKind != Activation::kNone)
                                 g = activation_gradient<kKind>(g, load_lanes<A, whole()>(b.out + run + j, lanes));
                               if constexpr (kResidual)
                                 write<A, whole()>(b.grad_residual + run + j, g, lanes, b.stream);
                               const V deviation = load_lanes<A, whole()>(b.x + run + j, lanes) - at(mean, j);
                               const V result = fma(deviation, at(slope, j), fma(g, at(scale, j), at(shift, j)));
                               write<A, whole()>(b.grad_x + run + j, result, lanes, b.stream);
                             });
  }
  if (b.stream) stream_fence();
}

template <bool kRows, class T>
void normalize(const NormForward<T>& f, const NormBlock& block) {
  dispatch_activation(f.activation, [&](auto kind) {
    f.residual ? normalize_with<kind(), true, kRows>(f, block) : normalize_with<kind(), false, kRows>(f, block);
  });
}

template <bool kRows, class T>
void gradient(const NormBackward<T>& b, const NormBlock& block) {
  dispatch_activation(b.activation, [&](auto kind) {
    b.grad_residual ? gradient_with<kind(), true, kRows>(b, block) : gradient_with<kind(), false, kRows>(b, block);
  });
}

template <bool kRows, class T>
void reduce(const NormBackward<T>& b, const NormBlock& block, Accumulator<T>* partial, std::int64_t pitch) {
  const auto with = [&](auto kind, auto residual, auto input) {
    kRows ? reduce_rows<kind(), residual(), input()>(b, block, partial, pitch)
          : reduce_planes<kind(), residual(), input()>(b, block, partial, pitch);
  };
  dispatch_activation(b.activation, [&](auto kind) {
    const auto for_residual = [&](auto residual) {
      b.grad_x ? with(kind, residual, std::true_type{}) : with(kind, residual, std::false_type{});
    };
    b.grad_residual ? for_residual(std::true_type{}) : for_residual(std::false_type{});
  });
}

// ---- Blocks together ------------------------------------------------------------------------------------------------

template <class V, class A>
SACCADE_HD V doubles(const A* p) {
  if constexpr (std::is_arithmetic_v<V>) return static_cast<V>(*p);
  if constexpr (!std::is_arithmetic_v<V>) return load_as<double, kLanesOf<V>>(p);
}

// Calls body(V, j): registers of channels, then single ones.
template <class Body>
SACCADE_HD void each_channel(std::int64_t width, const Body& body) {
  std::int64_t j = 0;
  for (; j + kLanes<double> <= width; j += kLanes<double>) body(Vec<double>{}, j);
  for (; j < width; ++j) body(double{}, j);
}

template <class A>
void combine_moments(const A* partials, std::int64_t pitch, const double* counts, std::int64_t blocks,
                     std::int64_t width, double* mean, double* squares) {
  each_channel(width, [&](auto zero, std::int64_t j) {
    using V = decltype(zero);
    V center = zero, spread = zero;
    double count = 0;
    for (std::int64_t k = 0; k < blocks; ++k) {
      const A* partial = partials + k * 3 * pitch + j;
      const V sum = doubles<V>(partial + pitch), share = sum * (1 / counts[k]);
      const V delta = doubles<V>(partial) + share - center;
      const double total = count + counts[k];
      spread += doubles<V>(partial + 2 * pitch) - sum * share + delta * delta * (count * counts[k] / total);
      center += delta * (counts[k] / total);
      count = total;
    }
    std::memcpy(mean + j, &center, sizeof center);
    std::memcpy(squares + j, &spread, sizeof spread);
  });
}

template <class A>
void combine_sums(const A* partials, std::int64_t pitch, std::int64_t blocks, std::int64_t width, double* first,
                  double* second) {
  each_channel(width, [&](auto zero, std::int64_t j) {
    using V = decltype(zero);
    V a = zero, b = zero;
    for (std::int64_t k = 0; k < blocks; ++k) {
      a += doubles<V>(partials + 2 * k * pitch + j);
      b += doubles<V>(partials + (2 * k + 1) * pitch + j);
    }
    std::memcpy(first + j, &a, sizeof a);
    std::memcpy(second + j, &b, sizeof b);
  });
}

template <class T>
constexpr BatchNormLayouts<T> kLayouts = {
    {moments_planes<T>, normalize<false, T>, reduce<false, T>, gradient<false, T>},
    {moments_rows<T>, normalize<true, T>, reduce<true, T>, gradient<true, T>},
};

}  // namespace

const BatchNormKernels batch_norm_kernels = {
    kLayouts<Float16>,
    kLayouts<BFloat16>,
    kLayouts<float>,
    kLayouts<double>,
    {combine_moments<float>, combine_sums<float>},
    {combine_moments<double>, combine_sums<double>},
};

}  // namespace saccade::SACCADE_ISA
