// Kernels of soft_nms (csrc/ops/soft_nms.h).
#pragma once

#include <cstdint>

#include "isa/isa.h"
#include "math/soft_nms.h"

namespace saccade {

// Index of a box, as wide as its coordinates: registers of both have the same lanes.
template <class T>
struct SoftNmsIndex {
  using type = std::int32_t;
};
template <>
struct SoftNmsIndex<double> {
  using type = std::int64_t;
};

constexpr std::int64_t kSoftNmsPadding = 16;

template <class T>
struct SoftNmsProblem {
  // The candidates, which the kernel moves together as they leave; room for kSoftNmsPadding more.
  T *x1, *y1, *x2, *y2, *score;
  typename SoftNmsIndex<T>::type* index;  // ascending from 0
  std::int64_t count;
  const T* boxes;  // box i: boxes[4 i, 4 i + 4)
  SoftNmsMethod method;
  T iou_threshold, sigma, score_threshold;
};

struct SoftNmsKernels {
  // Writes indices and final scores in the order in which boxes are taken; returns their number.
  std::int64_t (*select_float)(const SoftNmsProblem<float>& problem, std::int64_t* keep, float* scores);
  std::int64_t (*select_double)(const SoftNmsProblem<double>& problem, std::int64_t* keep, double* scores);
};
SACCADE_KERNELS(SoftNmsKernels, soft_nms_kernels)

}  // namespace saccade
