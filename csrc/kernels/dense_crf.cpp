// One step of the mean field for a range of points: slice every term's lattice, apply its compatibility, softmax.
// A row of labels is a few chunks of 32 bytes; what is added to it stays in L1 between the steps.
#include "kernels/dense_crf.h"

#include "isa/exp.h"
#include "kernels/permutohedral_rows.h"

namespace saccade::SACCADE_ISA {
namespace {

template <int Lanes, class V>
SACCADE_HD V max_halves(V v) {
  if constexpr (Lanes == 1)
    return v;
  else
    return max_halves<Lanes / 2>(max(v, shift_down<Lanes / 2>(v)));
}

template <class T>
SACCADE_HD void softmax_row(const T* logits, std::int64_t stride, T* out) {
  using V = Chunk<T>;
  V largest = load<V>(logits);
  for (std::int64_t i = kChunk<T>; i < stride; i += kChunk<T>) largest = max(largest, load<V>(logits + i));
  const V shift = splat<V>(max_halves<kChunk<T>>(largest)[0]);
  V sum = {};
  for (std::int64_t i = 0; i < stride; i += kChunk<T>) {
    const V value = exp_nonpositive(load<V>(logits + i) - shift);
    store(out + i, value);
    sum += value;
  }
  const V inverse = splat<V>(1 / reduce_add(sum));
  for (std::int64_t i = 0; i < stride; i += kChunk<T>) store(out + i, load<V>(out + i) * inverse);
}

template <class T>
SACCADE_HD void add_message(const MeanFieldTerm<T>& term, std::int64_t p, std::int64_t labels, std::int64_t stride,
                            T* message, T* logits) {
  using V = Chunk<T>;
  const std::int32_t* vertices = term.vertices + p * term.corners;
  const T* weights = term.weights + p * term.corners;
  const T scale = term.after != nullptr ? term.scale * term.after[p] : term.scale;
  for_columns<T>(stride, [&](std::int64_t column, auto chunks) {
    constexpr int kChunks = decltype(chunks)::value;
    V sum[kChunks];
    slice_point<kChunks>(term.corners, vertices, weights, term.table + column, stride, scale, sum);
    for (int k = 0; k < kChunks; ++k) {
      const std::int64_t i = column + k * kChunk<T>;
      if (term.matrix)
        store(message + i, sum[k]);
      else
        store(logits + i, fma<V>(load<V>(term.compatibility + i), sum[k], load<V>(logits + i)));
    }
  });
  if (!term.matrix) return;
  for_columns<T>(stride, [&](std::int64_t column, auto chunks) {
    constexpr int kChunks = decltype(chunks)::value;
    V sum[kChunks];
    for (int k = 0; k < kChunks; ++k) sum[k] = load<V>(logits + column + k * kChunk<T>);
    for (std::int64_t j = 0; j < labels; ++j) {
      const T* row = term.compatibility + j * stride + column;
      const V value = splat<V>(message[j]);
      for (int k = 0; k < kChunks; ++k) sum[k] = fma<V>(value, load<V>(row + k * kChunk<T>), sum[k]);
    }
    for (int k = 0; k < kChunks; ++k) store(logits + column + k * kChunk<T>, sum[k]);
  });
}

template <class T>
void update(std::int64_t begin, std::int64_t end, const T* base, std::int64_t labels, std::int64_t stride,
            const MeanFieldTerm<T>* terms, int count, bool normalize, T* scratch, T* out) {
  using V = Chunk<T>;
  T* message = scratch + stride;
  for (std::int64_t p = begin; p < end; ++p) {
    T *to = out + (p - begin) * stride, *logits = normalize ? scratch : to;
    for (std::int64_t i = 0; i < stride; i += kChunk<T>) store(logits + i, load<V>(base + (p - begin) * stride + i));
    for (int t = 0; t < count; ++t) add_message(terms[t], p, labels, stride, message, logits);
    if (normalize) softmax_row(logits, stride, to);
  }
}

}  // namespace

const MeanFieldTables mean_field_tables = {{update<float>}, {update<double>}};

}  // namespace saccade::SACCADE_ISA
