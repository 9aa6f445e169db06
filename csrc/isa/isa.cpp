#include "isa/isa.h"

#include <cstdlib>
#include <string_view>

#include "common/error.h"

namespace saccade {

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kAvx512Bf16: return "avx512_bf16";
    case Isa::kAvx512: return "avx512";
    case Isa::kAvx2: return "avx2";
    case Isa::kGeneric: break;
  }
  return "generic";
}

Isa detected_isa() {
#if defined(SACCADE_X86)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx512 && __builtin_cpu_supports("avx512bf16")) return Isa::kAvx512Bf16;
  if (avx512) return Isa::kAvx512;
  if (avx2) return Isa::kAvx2;
#endif
  return Isa::kGeneric;
}

namespace {

Isa choose_isa() {
  const char* wanted = std::getenv("SACCADE_ISA");
  const Isa best = detected_isa();
  if (wanted == nullptr || *wanted == '\0') return best;
  for (Isa isa : {Isa::kGeneric, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16}) {
    if (std::string_view(wanted) != isa_name(isa)) continue;
    require(isa <= best, "SACCADE_ISA=", wanted, ": this processor runs ", isa_name(best), " at best");
    return isa;
  }
  throw ValueError(concat("SACCADE_ISA must be generic, avx2, avx512 or avx512_bf16, got '", wanted, "'"));
}

}  // namespace

Isa active_isa() {
  static const Isa chosen = choose_isa();
  return chosen;
}

}  // namespace saccade
