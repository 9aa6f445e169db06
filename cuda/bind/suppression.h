// What the bindings of the suppression operators share.
#pragma once

#include <cuda_runtime.h>

#include "cuda/common/torch.h"
#include "cuda/kernels/nms.h"

namespace saccade::cuda {

// Rows in descending order of score (int64), as csrc/ops/suppression.h has it.
inline Tensor score_order(const Tensor& scores, cudaStream_t stream) {
  const bool is_double = scores.scalar_type() == ScalarType::Double;
  const Tensor keys = empty({scores.size(0)}, scores, is_double ? ScalarType::Double : ScalarType::Float);
  if (is_double) {
    launch_nms_keys(view(scores), view(keys).ptr<double>(), stream);
  } else {
    launch_nms_keys(view(scores), view(keys).ptr<float>(), stream);
  }
  return std::get<1>(stable_sort(keys, 0, true));
}

}  // namespace saccade::cuda
