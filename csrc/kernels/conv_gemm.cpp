#include "kernels/conv_gemm.h"

#include "kernels/conv_tile.h"

namespace saccade::SACCADE_ISA {
namespace {

// One element of the depth at a time.
template <class A>
struct Singles {
  using E = A;
  using V = Vec<E>;
  static constexpr std::int64_t kWidth = 1;
  SACCADE_HD V cell(const E* p) { return splat<V>(*p); }
  SACCADE_HD V multiply_add(V a, V b, V sum) { return fma(a, b, sum); }
};

template <class T, Activation Kind, bool Whole>
SACCADE_HD void finish_lanes(const ConvFinish<T>& f, std::int64_t row, std::int64_t j, std::int64_t lanes,
                             Vec<Accumulator<T>> scale, Vec<Accumulator<T>> shift) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  V value = fma(load<V>(f.sums + row * f.pitch + j), scale, shift);
  if (f.residual) value += load_lanes<A, Whole>(f.residual[row] + j, lanes);
  store_lanes<A, Whole>(f.out[row] + j, activate<Kind, RegisterArithmetic>(value), lanes);
}

template <class T>
void finish_rows(const ConvFinish<T>& f) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  constexpr int kN = kLanes<A>;
  dispatch_activation(f.activation, [&](auto kind) {
    for (std::int64_t j = 0; j < f.columns; j += kN) {
      const std::int64_t lanes = f.columns - j;
      const V scale = load_partial<V>(f.scale + j, lanes < kN ? lanes : kN);
      const V shift = load_partial<V>(f.shift + j, lanes < kN ? lanes : kN);
      for (std::int64_t r = 0; r < f.count; ++r) {
        if (lanes >= kN) {
          finish_lanes<T, kind(), true>(f, r, j, kN, scale, shift);
        } else {
          finish_lanes<T, kind(), false>(f, r, j, lanes, scale, shift);
        }
      }
    }
  });
}

template <class T>
void finish_planes(const ConvFinish<T>& f) {
  using A = Accumulator<T>;
  using V = Vec<A>;
  constexpr int kN = kLanes<A>;
  dispatch_activation(f.activation, [&](auto kind) {
    for (std::int64_t r = 0; r < f.count; ++r) {
      const V scale = splat<V>(f.scale[r]), shift = splat<V>(f.shift[r]);
      for (std::int64_t j = 0; j < f.columns; j += kN) {
        const std::int64_t lanes = f.columns - j < kN ? f.columns - j : kN;
        if (f.places == nullptr && lanes == kN) {
          finish_lanes<T, kind(), true>(f, r, j, kN, scale, shift);
        } else if (f.places == nullptr) {
          finish_lanes<T, kind(), false>(f, r, j, lanes, scale, shift);
        } else {
          A value[kN];
          V sum = fma(load<V>(f.sums + r * f.pitch + j), scale, shift);
          if (f.residual) {
            for (std::int64_t i = 0; i < lanes; ++i) value[i] = to_float(f.residual[r][f.places[j + i]]);
            sum += load_partial<V>(value, lanes);
          }
          store(value, activate<kind(), RegisterArithmetic>(sum));
          for (std::int64_t i = 0; i < lanes; ++i) f.out[r][f.places[j + i]] = from_float<T>(value[i]);
        }
      }
    }
  });
}

template <class A>
void gather_runs(const A* source, std::int64_t step, std::int64_t count, std::int64_t run_step, std::int64_t runs,
                 std::int64_t length, A* to, std::int64_t pitch) {
  constexpr int kN = kLanes<A>;
  for (std::int64_t n = 0; n < count; ++n)
    for (std::int64_t run = 0; run < runs; ++run) {
      const A* from = source + n * step + run * run_step;
      A* place = to + n * pitch + run * length;
      for (std::int64_t i = 0; i < length; i += kN) store(place + i, load<Vec<A>>(from + i));
    }
}

template <class T>
void copy_pixel(const T* source, std::int64_t step, std::int64_t depth, Accumulator<T>* to) {
  copy_run(source, step, depth, to);
}

template <class T>
void pack(const T* weight, std::int64_t n_step, std::int64_t k_step, std::int64_t columns, std::int64_t depth,
          std::int64_t pitch, Accumulator<T>* panel) {
  // Blocks of eight by eight: both sides then touch few lines.
  for (std::int64_t k0 = 0; k0 < depth; k0 += 8) {
    const std::int64_t k1 = k0 + 8 < depth ? k0 + 8 : depth;
    for (std::int64_t n0 = 0; n0 < pitch; n0 += 8) {
      const std::int64_t n1 = n0 + 8 < pitch ? n0 + 8 : pitch;
      for (std::int64_t n = n0; n < n1; ++n)
        for (std::int64_t k = k0; k < k1; ++k)
          panel[k * pitch + n] = n < columns ? to_float(weight[n * n_step + k * k_step]) : 0;
    }
  }
}

template <class T, class A = Accumulator<T>>
constexpr ConvGemmFunctions<T> functions() {
  return {multiply<Singles<A>, false>,
          multiply<Singles<A>, true>,
          finish_rows<T>,
          finish_planes<T>,
          gather_runs<A>,
          copy_pixel<T>,
          pack<T>,
          kColumns<A>,
          kLanes<A>};
}

}  // namespace

const ConvGemmKernels conv_gemm_kernels = {functions<Float16>(), functions<BFloat16>(), functions<float>(),
                                           functions<double>()};

}  // namespace saccade::SACCADE_ISA
