// Stands in for CUDA's header of the same name: matrix fragments of 16 x 16 x 16 in half precision with float sums. A
// lane holds what its own eight sums need: row lane / 2, columns from 8 * (lane % 2). As on the device, all lanes of a
// warp must come, and rows and addresses must be aligned.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <type_traits>

#include "cuda_runtime.h"
#include "math/half.h"

struct __half {
  saccade::Float16 value;
};
struct __nv_bfloat16 {
  saccade::BFloat16 value;
};

namespace nvcuda::wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };

template <class Use, int M, int N, int K, class T, class Order = void>
struct fragment {
  static_assert(M == 16 && N == 16 && K == 16);
  // matrix_a: a row of 16; matrix_b: 16 rows of 8; accumulator: 8.
  float x[std::is_same_v<Use, matrix_a> ? 16 : std::is_same_v<Use, matrix_b> ? 128 : 8];
};

namespace host {
inline int lane() { return static_cast<int>(threadIdx.x) % warpSize; }  // of one-dimensional blocks
inline int row() { return lane() / 2; }
inline int column() { return lane() % 2 * 8; }

template <class T>
void check_address(const T* p, unsigned line) {
  if (reinterpret_cast<std::uintptr_t>(p) % 32 != 0 || line * sizeof(T) % 16 != 0)
    throw std::logic_error("wmma: addresses must be multiples of 32 bytes, lines of 16 bytes");
}
template <class Order, class T>
float element(const T* p, unsigned line, int i, int j) {
  const auto first = static_cast<unsigned>(i), second = static_cast<unsigned>(j);
  return saccade::to_float(
      (std::is_same_v<Order, row_major> ? p[first * line + second] : p[second * line + first]).value);
}
}  // namespace host

template <class Use, class T, class Order>
void fill_fragment(fragment<Use, 16, 16, 16, T, Order>& f, float value) {
  for (float& x : f.x) x = value;
}

template <class T, class Order>
void load_matrix_sync(fragment<matrix_a, 16, 16, 16, T, Order>& f, const T* p, unsigned line) {
  host::check_address(p, line);
  for (int k = 0; k < 16; ++k) f.x[k] = host::element<Order>(p, line, host::row(), k);
  __syncwarp();
}
template <class T, class Order>
void load_matrix_sync(fragment<matrix_b, 16, 16, 16, T, Order>& f, const T* p, unsigned line) {
  host::check_address(p, line);
  for (int i = 0; i < 128; ++i) f.x[i] = host::element<Order>(p, line, i / 8, host::column() + i % 8);
  __syncwarp();
}

template <class T, class OrderA, class OrderB>
void mma_sync(fragment<accumulator, 16, 16, 16, float>& d, const fragment<matrix_a, 16, 16, 16, T, OrderA>& a,
              const fragment<matrix_b, 16, 16, 16, T, OrderB>& b, const fragment<accumulator, 16, 16, 16, float>& c) {
  for (int n = 0; n < 8; ++n) {
    float sum = c.x[n];
    for (int k = 0; k < 16; ++k) sum += a.x[k] * b.x[k * 8 + n];
    d.x[n] = sum;
  }
  __syncwarp();
}

inline void store_matrix_sync(float* p, const fragment<accumulator, 16, 16, 16, float>& f, unsigned line,
                              layout_t order) {
  host::check_address(p, line);
  for (int n = 0; n < 8; ++n) {
    const auto i = static_cast<unsigned>(host::row()), j = static_cast<unsigned>(host::column() + n);
    p[order == mem_row_major ? i * line + j : j * line + i] = f.x[n];
  }
  __syncwarp();
}

}  // namespace nvcuda::wmma
