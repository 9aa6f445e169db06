// The product of a tile: six rows by four registers of columns (two without AVX-512, which has half as many), every sum
// in a register over the whole depth. A step loads a row of the panel and broadcasts one element of each row of the
// tile: 24 multiply-adds for ten loads, and 256 bytes of the panel, which L2 supplies. Panels are blocked by the caller
// so that one stays in L2 over many tiles.
#include "kernels/conv_gemm.h"

#include "isa/exp.h"
#include "kernels/streams.h"

namespace saccade::SACCADE_ISA {
namespace {

constexpr int kRegisters = SACCADE_VEC_BYTES == 64 ? 4 : 2;
template <class A>
constexpr std::int64_t kColumns = kRegisters * kLanes<A>;

template <class A, bool Whole, int Rows>
SACCADE_HD void write_column(const ConvFinish<A>& f, const Vec<A>* sum, std::int64_t step, std::int64_t j,
                             std::int64_t lanes) {
  using V = Vec<A>;
  const V scale = load_lanes<A, Whole>(f.scale + j, lanes), shift = load_lanes<A, Whole>(f.shift + j, lanes);
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    V value = fma(sum[r * step], scale, shift);
    if (f.residual) value += load_lanes<A, Whole>(f.residual[r] + j, lanes);
    if (f.activation == Activation::kRelu) value = activate<Activation::kRelu, RegisterArithmetic>(value);
    store_lanes<A, Whole>(f.out[r] + j, value, lanes);
  }
}

template <class A, int Rows, int Registers>
SACCADE_HD void write_tile(const ConvFinish<A>& f, Vec<A> (&sum)[Rows][Registers]) {
  constexpr int kN = kLanes<A>;
#pragma GCC unroll 4
  for (int v = 0; v < Registers; ++v) {
    const std::int64_t lanes = f.columns - v * kN;
    if (lanes >= kN) {
      write_column<A, true, Rows>(f, &sum[0][v], Registers, v * kN, kN);
    } else {
      write_column<A, false, Rows>(f, &sum[0][v], Registers, v * kN, lanes);
    }
  }
}

template <class A, int Rows, int Registers, bool Strided>
void multiply_tile(const ConvTile<A>& tile) {
  constexpr int kN = kLanes<A>;
  using V = Vec<A>;
  V sum[Rows][Registers];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Registers; ++v)
      sum[r][v] = tile.accumulate ? load<V>(tile.sums + r * tile.pitch + v * kN) : V{};
  const A* panel = tile.panel;
  const std::int64_t pitch = tile.pitch, step = Strided ? tile.step : 1;
  for (std::int64_t t = 0; t < tile.taps; ++t) {
    const A* rows[Rows];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
      rows[r] = tile.offsets ? tile.rows[r] + tile.offsets[t] : tile.rows[t * tile.count + r];
    for (std::int64_t k = 0; k < tile.depth; ++k, panel += pitch) {
      V b[Registers];
#pragma GCC unroll 4
      for (int v = 0; v < Registers; ++v) b[v] = load<V>(panel + v * kN);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const V a = splat<V>(rows[r][k * step]);
#pragma GCC unroll 4
        for (int v = 0; v < Registers; ++v) sum[r][v] = fma(a, b[v], sum[r][v]);
      }
    }
  }
  if (tile.finish != nullptr) {
    const ConvFinish<A> finish = *tile.finish;  // a copy, which the outputs cannot alias
    return write_tile<A, Rows, Registers>(finish, sum);
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Registers; ++v) store(tile.sums + r * tile.pitch + v * kN, sum[r][v]);
}

template <class A, int Registers, bool Strided>
void multiply_rows(const ConvTile<A>& tile) {
  switch (tile.count) {
    case 1: return multiply_tile<A, 1, Registers, Strided>(tile);
    case 2: return multiply_tile<A, 2, Registers, Strided>(tile);
    case 3: return multiply_tile<A, 3, Registers, Strided>(tile);
    case 4: return multiply_tile<A, 4, Registers, Strided>(tile);
    case 5: return multiply_tile<A, 5, Registers, Strided>(tile);
    default: return multiply_tile<A, 6, Registers, Strided>(tile);
  }
}

template <class A, bool Strided>
void multiply(const ConvTile<A>& tile) {
  const std::int64_t registers = tile.pitch / kLanes<A>;
  if constexpr (kRegisters > 2) {
    if (registers == 4) return multiply_rows<A, 4, Strided>(tile);
    if (registers == 3) return multiply_rows<A, 3, Strided>(tile);
  }
  if (registers == 2) return multiply_rows<A, 2, Strided>(tile);
  multiply_rows<A, 1, Strided>(tile);
}

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
  return {multiply<A, false>, multiply<A, true>, finish_rows<T>, finish_planes<T>,
          copy_pixel<T>,      pack<T>,           kColumns<A>,    kLanes<A>};
}

}  // namespace

const ConvGemmKernels conv_gemm_kernels = {functions<Float16>(), functions<BFloat16>(), functions<float>(),
                                           functions<double>()};

}  // namespace saccade::SACCADE_ISA
