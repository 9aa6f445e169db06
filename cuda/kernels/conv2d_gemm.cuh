// Products of matrices that are read in place (conv2d_problem.cuh), by tiles: a block of 256 threads owns kM rows x kN
// columns and walks down the depth in steps of kK. While it multiplies one pair of tiles in shared memory, the next one
// is on its way from memory to registers; one barrier a step. What the steps of the depth are (pixel or tap, channel)
// is worked out two steps ahead, by kK threads. The depth is summed in order: the same bits in every run.
//
// Math multiplies the tiles: CoreMath on the CUDA cores in float or double, TensorCoreMath (conv2d_tensor_core.cuh).
#pragma once

#include "cuda/common/pack.cuh"
#include "cuda/kernels/conv2d_problem.cuh"

namespace saccade::cuda {

constexpr int kGemmThreads = 256;

// A thread owns 8 x 4 results: four neighbouring rows twice, 64 rows apart, and four neighbouring columns. kAlongDepth:
// whether neighbours in memory are neighbours in the depth, not in the rows. kColumnsFirst: whether neighbouring
// threads own neighbouring columns of the result, not rows: so the elements that they write are neighbours in memory.
template <class T, bool kAlongDepth_, bool kColumnsFirst>
struct CoreMath {
  using Accumulator = decltype(to_float(T{}));
  static constexpr bool kAlongDepth = kAlongDepth_;
  static constexpr int kM = 128, kN = 64, kK = sizeof(Accumulator) == 8 ? 8 : 16;
  struct Tile {
    alignas(16) Accumulator a[kK][kM + 4];
    alignas(16) Accumulator b[kK][kN + 4];
  };
  struct Storage {
    Tile tiles[2];
  };

  Accumulator sums[8][4] = {};

  template <int N>
  __device__ static void put_a(Tile& tile, int m, int k, const Pack<T, N>& pack) {
    for (int i = 0; i < N; ++i) (kAlongDepth ? tile.a[k + i][m] : tile.a[k][m + i]) = to_float(pack.value[i]);
  }
  template <int N>
  __device__ static void put_b(Tile& tile, int k, int n, const Pack<T, N>& pack) {
    for (int i = 0; i < N; ++i) tile.b[k][n + i] = to_float(pack.value[i]);
  }

  __device__ static int thread_row() { return static_cast<int>(kColumnsFirst ? threadIdx.x / 16 : threadIdx.x % 16); }
  __device__ static int thread_column() {
    return static_cast<int>(kColumnsFirst ? threadIdx.x % 16 : threadIdx.x / 16);
  }

  __device__ void multiply(const Tile& tile) {
    const int row = 4 * thread_row(), column = 4 * thread_column();
#pragma unroll
    for (int k = 0; k < kK; ++k) {
      Accumulator a[8], b[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        a[i] = tile.a[k][row + i], a[4 + i] = tile.a[k][row + kM / 2 + i];
        b[i] = tile.b[k][column + i];
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] = std::fma(a[i], b[j], sums[i][j]);
      }
    }
  }

  // Calls column(n) for the columns of this thread, and emit(m, what it returned, sum) for the rows of each.
  template <class ColumnOf, class Emit>
  __device__ void finish(Storage&, int columns, const ColumnOf& column_of, const Emit& emit) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int n = 4 * thread_column() + j;
      if (n >= columns) continue;
      const auto column = column_of(n);
#pragma unroll
      for (int i = 0; i < 8; ++i) emit(4 * thread_row() + i % 4 + i / 4 * (kM / 2), column, sums[i][j]);
    }
  }
};

// A thread's share of the elements of a pair of tiles, on their way through registers in packs of N.
template <class Arguments, class Math, int N, bool kColumnsInMemory>
struct Loader {
  using T = typename Arguments::Type;
  static constexpr int kPacksA = Math::kM * Math::kK / N, kSharesA = (kPacksA + kGemmThreads - 1) / kGemmThreads;
  static constexpr int kPacksB = Math::kK * Math::kN / N, kSharesB = (kPacksB + kGemmThreads - 1) / kGemmThreads;
  struct Spot {
    int outer, inner;
  };

  Pack<T, N> a[kSharesA], b[kSharesB];

  // Pack i of `length` elements a line: its line and its first element.
  __device__ static Spot place(int share, int length) {
    const int i = static_cast<int>(threadIdx.x) + share * kGemmThreads;
    return {i / (length / N), i % (length / N) * N};
  }
  __device__ static bool exists(int share, int packs) {
    return packs % kGemmThreads == 0 || static_cast<int>(threadIdx.x) + share * kGemmThreads < packs;
  }

  __device__ void load(const Arguments& of, const Place* rows, const Depth* depth, std::int64_t n0, int columns) {
#pragma unroll
    for (int s = 0; s < kSharesA; ++s) {
      if (!exists(s, kPacksA)) break;
      const Spot at = place(s, Math::kAlongDepth ? Math::kK : Math::kM);
      const int m = Math::kAlongDepth ? at.outer : at.inner, k = Math::kAlongDepth ? at.inner : at.outer;
      const std::int64_t index = of.image.index(rows[m], depth[k].place);
      a[s] = index < 0 ? Pack<T, N>{} : load_pack<N>(of.image.data + index);
    }
#pragma unroll
    for (int s = 0; s < kSharesB; ++s) {
      if (!exists(s, kPacksB)) break;
      const Spot at = place(s, kColumnsInMemory ? Math::kN : Math::kK);
      const int k = kColumnsInMemory ? at.outer : at.inner, n = kColumnsInMemory ? at.inner : at.outer;
      const bool inside = n < columns && depth[k].b >= 0;
      b[s] = inside ? load_pack<N>(of.b + depth[k].b + (n0 + n) * of.b_step()) : Pack<T, N>{};
    }
  }

  __device__ void store(typename Math::Tile& tile) const {
#pragma unroll
    for (int s = 0; s < kSharesA; ++s) {
      if (!exists(s, kPacksA)) break;
      const Spot at = place(s, Math::kAlongDepth ? Math::kK : Math::kM);
      Math::put_a(tile, Math::kAlongDepth ? at.outer : at.inner, Math::kAlongDepth ? at.inner : at.outer, a[s]);
    }
#pragma unroll
    for (int s = 0; s < kSharesB; ++s) {
      if (!exists(s, kPacksB)) break;
      const Spot at = place(s, kColumnsInMemory ? Math::kN : Math::kK);
      Math::put_b(tile, kColumnsInMemory ? at.outer : at.inner, kColumnsInMemory ? at.inner : at.outer, b[s]);
    }
  }
};

// N: elements of a pack; more than 1 only where the neighbours of each factor in memory come in whole packs.
template <class Arguments, class Math, int N, bool kColumnsInMemory>
__global__ void __launch_bounds__(kGemmThreads) conv2d_gemm_kernel(Arguments arguments) {
  using Problem = typename Arguments::Problem;
  using Accumulator = typename Arguments::Accumulator;
  SACCADE_SHARED(typename Math::Storage, storage);
  SACCADE_SHARED(Problem, problem);
  SACCADE_SHARED(Place[Math::kM], rows);
  SACCADE_SHARED(std::int64_t[Math::kM], row_out);
  SACCADE_SHARED(Depth[2][Math::kK], depth);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) problem = arguments.problem(blockIdx.x, Math::kM, Math::kN);
  __syncthreads();
  if (problem.m0 >= problem.rows) return;  // the tiles are those of the largest class
  if (thread < Math::kM) rows[thread] = problem.row(arguments, problem.m0 + thread, row_out[thread]);
  const auto work_out = [&](std::int64_t step) {
    if (thread < Math::kK) depth[step % 2][thread] = problem.step(arguments, problem.begin + step * Math::kK + thread);
  };
  const std::int64_t steps = (problem.end - problem.begin + Math::kK - 1) / Math::kK;
  const int columns = static_cast<int>(min(problem.columns - problem.n0, static_cast<std::int64_t>(Math::kN)));
  Loader<Arguments, Math, N, kColumnsInMemory> loader;
  Math math;
  work_out(0);
  __syncthreads();
  if (steps > 0) {
    loader.load(arguments, rows, depth[0], problem.n0, columns);
    loader.store(storage.tiles[0]);
  }
  work_out(1);
  __syncthreads();
  for (std::int64_t step = 0; step < steps; ++step) {
    const bool more = step + 1 < steps;
    if (more) loader.load(arguments, rows, depth[(step + 1) % 2], problem.n0, columns);
    work_out(step + 2);
    math.multiply(storage.tiles[step % 2]);
    if (more) loader.store(storage.tiles[(step + 1) % 2]);
    __syncthreads();
  }
  math.finish(
      storage, columns, [&](int n) { return problem.column(arguments, problem.n0 + n); },
      [&](int m, const typename Problem::Column& column, Accumulator sum) {
        if (problem.m0 + m < problem.rows) problem.write(arguments, row_out[m], column, sum);
      });
}

template <class Math, int N, bool kColumnsInMemory, class Arguments>
void launch_gemm(const Arguments& arguments, std::int64_t blocks, cudaStream_t stream) {
  launch({blocks_for(blocks, 1), kGemmThreads, stream}, conv2d_gemm_kernel<Arguments, Math, N, kColumnsInMemory>,
         arguments);
}

}  // namespace saccade::cuda
