// The product of kernels/conv_gemm.h for bfloat16 as it is: vdpbf16ps adds two neighbouring elements' products to a
// float32 sum, twice the multiply-adds of float32. It rounds to nearest even after each product, and takes subnormal
// inputs and results as zero.
#pragma once

#include "kernels/conv_gemm.h"

namespace saccade {

struct ConvPairsKernels {
  // A step takes two elements of the depth; panel[k][j] are the 32 bits of the pair of weights. Where the depth is odd
  // the last element is taken with a zero, and nothing behind it is read.
  void (*multiply)(const ConvTile<BFloat16>& tile);  // step 1
  // Weight n * n_step + k * k_step, k < depth, as half (first + k) % 2 of panel[(first + k) / 2][n], n < columns. The
  // rest is left as it is.
  void (*pack)(const BFloat16* weight, std::int64_t n_step, std::int64_t k_step, std::int64_t columns,
               std::int64_t first, std::int64_t depth, std::int64_t pitch, float* panel);
};

#if defined(SACCADE_X86)
namespace avx512_bf16 {
extern const ConvPairsKernels conv_pairs_kernels;
}
#endif

// Null where the level in use lacks the instruction.
[[maybe_unused]] static inline const ConvPairsKernels* conv_pairs_kernels() {
#if defined(SACCADE_X86)
  if (active_isa() == Isa::kAvx512Bf16) return &avx512_bf16::conv_pairs_kernels;
#endif
  return nullptr;
}

}  // namespace saccade
