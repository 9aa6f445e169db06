// Run-time choice of the instruction set (design: generic baseline, AVX2+FMA, AVX-512, AVX-512 with products of
// bfloat16; chosen once, on first use).
#pragma once

#include <string>

namespace saccade {

enum class Isa : int { kGeneric = 0, kAvx2 = 1, kAvx512 = 2, kAvx512Bf16 = 3 };

const char* isa_name(Isa isa);

// The best level that this processor runs.
Isa detected_isa();

// The level in use: `SACCADE_ISA` (generic, avx2, avx512, avx512_bf16) if set, else the detected one. An unknown name
// or a level the processor lacks throws ValueError, each time it is asked for.
Isa active_isa();

}  // namespace saccade

// SACCADE_KERNELS(NmsKernels, nms_kernels) declares one constant table of function pointers per instruction set,
// saccade::{generic,avx2,avx512}::nms_kernels, which csrc/kernels/nms.cpp defines (it is compiled once for each), and
// the function saccade::nms_kernels() that returns the active one. Look it up once per call, never in a loop. The level
// avx512_bf16 has kernels of its own only where they gain by it (csrc/kernels/avx512_bf16), else avx512's.
#if defined(SACCADE_X86)
#define SACCADE_KERNELS(Type, name)                   \
  namespace generic {                                 \
  extern const Type name;                             \
  }                                                   \
  namespace avx2 {                                    \
  extern const Type name;                             \
  }                                                   \
  namespace avx512 {                                  \
  extern const Type name;                             \
  }                                                   \
  [[maybe_unused]] static inline const Type& name() { \
    switch (active_isa()) {                           \
      case Isa::kAvx512Bf16:                          \
      case Isa::kAvx512: return avx512::name;         \
      case Isa::kAvx2: return avx2::name;             \
      case Isa::kGeneric: break;                      \
    }                                                 \
    return generic::name;                             \
  }
#else
#define SACCADE_KERNELS(Type, name) \
  namespace generic {               \
  extern const Type name;           \
  }                                 \
  [[maybe_unused]] static inline const Type& name() { return generic::name; }
#endif
