// The tiles of conv2d_gemm.cuh in float16 and bfloat16 on the tensor cores, which add in float32. Eight warps own 32 x
// 32 results each, as 2 x 2 fragments of 16 x 16; the sums go through shared memory on their way out, so that
// neighbouring threads write neighbouring elements. Lines of a tile are padded by 16 bytes against bank conflicts.
#pragma once

#include <mma.h>

#include "cuda/kernels/conv2d_gemm.cuh"

namespace saccade::cuda {

// Devices before Ampere have no bfloat16 in their tensor cores: there the twin on the CUDA cores serves both types.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
template <class T, bool kAlongDepth, bool kColumnsFirst>
struct TensorCoreMath : CoreMath<T, kAlongDepth, kColumnsFirst> {};
#else

template <class T>
using TensorElement = std::conditional_t<std::is_same_v<T, Float16>, __half, __nv_bfloat16>;

template <class T, bool kAlongDepth_, bool kColumnsFirst>
struct TensorCoreMath {
  using Accumulator = float;
  static constexpr bool kAlongDepth = kAlongDepth_;
  static constexpr int kM = 128, kN = 64, kK = 32, kFragment = 16, kWarpSide = 32, kWarpsAcross = kN / kWarpSide;
  static constexpr int kLineA = (kAlongDepth ? kK : kM) + 8, kLineB = kN + 8;
  static constexpr int kLineSums = (kColumnsFirst ? kN : kM) + 4;
  struct alignas(32) Tile {
    T a[(kAlongDepth ? kM : kK) * kLineA];
    T b[kK * kLineB];
  };
  union Storage {
    Tile tiles[2];
    alignas(32) float sums[(kColumnsFirst ? kM : kN) * kLineSums];
  };

  using Order = std::conditional_t<kAlongDepth, nvcuda::wmma::row_major, nvcuda::wmma::col_major>;
  using FragmentA =
      nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, kFragment, kFragment, kFragment, TensorElement<T>, Order>;
  using FragmentB = nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, kFragment, kFragment, kFragment, TensorElement<T>,
                                           nvcuda::wmma::row_major>;
  using Sums = nvcuda::wmma::fragment<nvcuda::wmma::accumulator, kFragment, kFragment, kFragment, float>;

  Sums sums[2][2];

  __device__ TensorCoreMath() {
    for (int i = 0; i < 4; ++i) nvcuda::wmma::fill_fragment(sums[i / 2][i % 2], 0.0f);
  }

  template <int N>
  __device__ static void put_a(Tile& tile, int m, int k, const Pack<T, N>& pack) {
    store_pack(tile.a + (kAlongDepth ? m * kLineA + k : k * kLineA + m), pack);
  }
  template <int N>
  __device__ static void put_b(Tile& tile, int k, int n, const Pack<T, N>& pack) {
    store_pack(tile.b + k * kLineB + n, pack);
  }

  __device__ static int warp_row() { return static_cast<int>(threadIdx.x) / 32 / kWarpsAcross * kWarpSide; }
  __device__ static int warp_column() { return static_cast<int>(threadIdx.x) / 32 % kWarpsAcross * kWarpSide; }

  __device__ void multiply(const Tile& tile) {
    using nvcuda::wmma::load_matrix_sync;
    const auto* as = reinterpret_cast<const TensorElement<T>*>(tile.a);
    const auto* bs = reinterpret_cast<const TensorElement<T>*>(tile.b);
#pragma unroll
    for (int k = 0; k < kK; k += kFragment) {
      FragmentA a[2];
      FragmentB b[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int m = warp_row() + i * kFragment, n = warp_column() + i * kFragment;
        load_matrix_sync(a[i], as + (kAlongDepth ? m * kLineA + k : k * kLineA + m), kLineA);
        load_matrix_sync(b[i], bs + k * kLineB + n, kLineB);
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int j = 0; j < 2; ++j) nvcuda::wmma::mma_sync(sums[i][j], a[i], b[j], sums[i][j]);
      }
    }
  }

  // As CoreMath::finish. The tiles have been read when it is called.
  template <class ColumnOf, class Emit>
  __device__ void finish(Storage& storage, int columns, const ColumnOf& column_of, const Emit& emit) {
    for (int i = 0; i < 4; ++i) {
      const int m = warp_row() + i / 2 * kFragment, n = warp_column() + i % 2 * kFragment;
      nvcuda::wmma::store_matrix_sync(storage.sums + (kColumnsFirst ? m * kLineSums + n : n * kLineSums + m),
                                      sums[i / 2][i % 2], kLineSums,
                                      kColumnsFirst ? nvcuda::wmma::mem_row_major : nvcuda::wmma::mem_col_major);
    }
    __syncthreads();
    const int thread = static_cast<int>(threadIdx.x);
    if constexpr (kColumnsFirst) {
      const int n = thread % kN;
      if (n >= columns) return;
      const auto column = column_of(n);
      for (int m = thread / kN; m < kM; m += kGemmThreads / kN) emit(m, column, storage.sums[m * kLineSums + n]);
    } else {
      for (int n = thread / kM; n < columns; n += kGemmThreads / kM)
        emit(thread % kM, column_of(n), storage.sums[n * kLineSums + thread % kM]);
    }
  }
};
#endif

}  // namespace saccade::cuda
