// The weights of the products of bfloat16 pairs. Those of an odd depth end with a zero.
#include "kernels/conv_pairs.h"

#include <cstring>

#include "ops/conv_panels.h"

namespace saccade {
namespace {

ConvSteps steps_of(const ConvProblem& problem) { return {problem.depth(), neighbouring_taps(problem), 2}; }

}  // namespace

bool conv_pairs_serve(DType dtype) { return dtype == DType::kBFloat16 && conv_pairs_kernels() != nullptr; }

std::int64_t conv_pairs_packed_size(const ConvProblem& problem) {
  return problem.groups * panels_of<BFloat16>(problem.outs()).padded() * steps_of(problem).whole();
}

void conv_pairs_pack(const ConvProblem& problem, const ConvWeights& weights, void* packed) {
  const Panels panels = panels_of<BFloat16>(problem.outs());
  const ConvSteps steps = steps_of(problem);
  parallel_for(problem.groups * panels.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::int64_t group = unit / panels.count(), panel = unit % panels.count(), pitch = panels.pitch(panel);
      const BFloat16* from = static_cast<const BFloat16*>(weights.data) + group * weights.group_step +
                             panels.first(panel) * weights.n_step;
      float* to = static_cast<float*>(packed) + (group * panels.padded() + panels.first(panel)) * steps.whole();
      std::memset(to, 0, steps.whole() * pitch * sizeof(float));
      for_each_block(problem.depth(),
                     [&](std::int64_t c, std::int64_t channels, std::int64_t t, std::int64_t taps, std::int64_t) {
                       for (std::int64_t j = t; j < t + taps; ++j)
                         conv_pairs_kernels()->pack(from + c * weights.c_step + weights.taps[j], weights.n_step,
                                                    weights.c_step, panels.columns(panel), j % steps.run * channels,
                                                    channels, pitch, to + steps.before(c, channels, j) * pitch);
                     });
    }
  });
}

}  // namespace saccade
