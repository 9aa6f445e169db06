// Haar features of one window (Viola and Jones 2001, section 2; Lienhart and Maydt 2002).
//
// Features of one kind share their pattern of corners and its weights, so a feature is 6 to 9 offsets into the window's
// integral image, which fits in L1: a register of features after the other, one gather per corner.
// Floor: 1.15 million corners for the 162,336 features of a 24x24 window, at 16 lanes per gather of about 13 cycles:
// 0.35 ms. Measured: see benchmarks/cases/haar_features.py.
#include "kernels/haar_features.h"

#include "isa/simd.h"

namespace saccade::SACCADE_ISA {
namespace {

template <int kPoints, class S, int N>
SACCADE_HD void evaluate_points(const HaarRun& run, const S* patch, std::int64_t count, S* values) {
  using V = Vec<S, N>;
  using Offsets = Vec<std::uint16_t, N>;
  // Unsigned arithmetic wraps; sums of uint8 images may.
  using U = std::conditional_t<std::is_integral_v<S>, std::make_unsigned<S>, std::type_identity<S>>;
  using W = Vec<typename U::type, N>;
  for (std::int64_t f = 0; f < count; f += N) {
    const std::int64_t n = count - f < N ? count - f : N;
    W value{};
    for (int k = 0; k < kPoints; ++k) {
      const std::uint16_t* at = run.offsets + k * run.stride + f;
      const Offsets offsets = n == N ? load<Offsets>(at) : load_partial<Offsets>(at, n);
      const V corner = gather<V>(patch, __builtin_convertvector(offsets, Vec<std::int32_t, N>));
      value += (W)corner * splat<W>(static_cast<Element<W>>(run.weights[k]));
    }
    if (n == N)
      store<V>(values + f, (V)value);
    else
      store_partial<V>(values + f, (V)value, n);
  }
}

template <class S>
void evaluate(const HaarRun& run, const S* patch, std::int64_t count, S* values) {
  constexpr int N = kLanes<S>;
  switch (run.points) {
    case 6: return evaluate_points<6, S, N>(run, patch, count, values);
    case 8: return evaluate_points<8, S, N>(run, patch, count, values);
    default: return evaluate_points<9, S, N>(run, patch, count, values);
  }
}

}  // namespace

const HaarKernels haar_kernels = {evaluate<std::int32_t>, evaluate<std::int64_t>, evaluate<double>};

}  // namespace saccade::SACCADE_ISA
