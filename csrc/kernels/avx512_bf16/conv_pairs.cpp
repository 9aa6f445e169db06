#include "kernels/conv_pairs.h"

#include "kernels/conv_tile.h"

namespace saccade::SACCADE_ISA {
namespace {

struct Pairs {
  using E = BFloat16;
  using V = Vec<float>;
  static constexpr std::int64_t kWidth = 2;
  SACCADE_HD V cell(const E* p) {
    std::uint32_t bits;
    std::memcpy(&bits, p, sizeof(bits));
    return (V)splat<Vec<std::uint32_t>>(bits);
  }
  SACCADE_HD V last_cell(const E* p) { return (V)splat<Vec<std::uint32_t>>(p->bits); }
  SACCADE_HD V multiply_add(V a, V b, V sum) { return (V)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b); }
};

void pack(const BFloat16* weight, std::int64_t n_step, std::int64_t k_step, std::int64_t columns, std::int64_t first,
          std::int64_t depth, std::int64_t pitch, float* panel) {
  auto* const to = reinterpret_cast<unsigned char*>(panel);  // may alias the floats
  // Blocks of eight by eight: both sides then touch few lines.
  for (std::int64_t k0 = 0; k0 < depth; k0 += 8) {
    const std::int64_t k1 = k0 + 8 < depth ? k0 + 8 : depth;
    for (std::int64_t n0 = 0; n0 < columns; n0 += 8) {
      const std::int64_t n1 = n0 + 8 < columns ? n0 + 8 : columns;
      for (std::int64_t n = n0; n < n1; ++n)
        for (std::int64_t k = k0; k < k1; ++k) {
          const std::int64_t at = (first + k) / 2 * pitch + n, half = (first + k) % 2;
          std::memcpy(to + at * 4 + half * 2, weight + n * n_step + k * k_step, sizeof(BFloat16));
        }
    }
  }
}

}  // namespace

const ConvPairsKernels conv_pairs_kernels = {multiply<Pairs, false>, pack};

}  // namespace saccade::SACCADE_ISA
