// Kernels of the mean field (csrc/ops/dense_crf.h).
#pragma once

#include <cstdint>

#include "isa/isa.h"

namespace saccade {

// One pairwise term: the lattice's blurred values, and how they act on the logits.
template <class T>
struct MeanFieldTerm {
  int corners;
  const std::int32_t* vertices;
  const T* weights;
  const T* table;
  T scale;
  const T* after;          // what the message at each point is multiplied with, or none
  const T* compatibility;  // `stride` numbers, or (labels, stride): row j is what a message about label j adds
  bool matrix;
};

template <class T>
struct MeanFieldKernels {
  // Rows of `stride` logits for `count` points: sign * planes, a plane for each label; what follows the labels counts
  // as impossible.
  void (*gather)(const T* planes, std::int64_t plane_stride, std::int64_t labels, std::int64_t stride, T sign,
                 std::int64_t count, T* rows);
  // Points [begin, end), rows of `stride` elements, the first of base and out at begin: logits = base + sum over terms
  // of the message times compatibility; out = softmax(logits), or the logits where `normalize` is false. `scratch` has
  // room for two rows.
  void (*update)(std::int64_t begin, std::int64_t end, const T* base, std::int64_t labels, std::int64_t stride,
                 const MeanFieldTerm<T>* terms, int count, bool normalize, T* scratch, T* out);
  // The way back.
  void (*scatter)(const T* rows, std::int64_t stride, std::int64_t labels, std::int64_t count,
                  std::int64_t plane_stride, T* planes);
};

struct MeanFieldTables {
  MeanFieldKernels<float> f32;
  MeanFieldKernels<double> f64;
};
SACCADE_KERNELS(MeanFieldTables, mean_field_tables)

template <class T>
const MeanFieldKernels<T>& mean_field_kernels() {
  if constexpr (sizeof(T) == 4)
    return mean_field_tables().f32;
  else
    return mean_field_tables().f64;
}

}  // namespace saccade
