// One step of the mean field for a range of points: slice every term's lattice, apply its compatibility, softmax.
// Up to kMaxChunks chunks of labels stay in registers; rows that are longer stay in L1.
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
void update_long(std::int64_t begin, std::int64_t end, const T* base, std::int64_t labels, std::int64_t stride,
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

// The same for rows of `Chunks` chunks.
template <int Chunks, class T>
SACCADE_HD void update_short(std::int64_t begin, std::int64_t end, const T* base, std::int64_t labels,
                             const MeanFieldTerm<T>* terms, int count, bool normalize, T* message, T* out) {
  using V = Chunk<T>;
  constexpr std::int64_t kStride = Chunks * kChunk<T>;
  for (std::int64_t p = begin; p < end; ++p, base += kStride, out += kStride) {
    V logits[Chunks], sum[Chunks];
    for (int k = 0; k < Chunks; ++k) logits[k] = load<V>(base + k * kChunk<T>);
    for (int t = 0; t < count; ++t) {
      const MeanFieldTerm<T>& term = terms[t];
      const T scale = term.after != nullptr ? term.scale * term.after[p] : term.scale;
      slice_point<Chunks>(term.corners, term.vertices + p * term.corners, term.weights + p * term.corners, term.table,
                          kStride, scale, sum);
      if (term.matrix) {
        for (int k = 0; k < Chunks; ++k) store(message + k * kChunk<T>, sum[k]);
        for (std::int64_t j = 0; j < labels; ++j)
          for (int k = 0; k < Chunks; ++k)
            logits[k] =
                fma<V>(splat<V>(message[j]), load<V>(term.compatibility + j * kStride + k * kChunk<T>), logits[k]);
      } else {
        for (int k = 0; k < Chunks; ++k)
          logits[k] = fma<V>(load<V>(term.compatibility + k * kChunk<T>), sum[k], logits[k]);
      }
    }
    if (normalize) {
      V largest = logits[0], total = {};
      for (int k = 1; k < Chunks; ++k) largest = max(largest, logits[k]);
      const V shift = splat<V>(max_halves<kChunk<T>>(largest)[0]);
      for (int k = 0; k < Chunks; ++k) total += logits[k] = exp_nonpositive(logits[k] - shift);
      const V inverse = splat<V>(1 / reduce_add(total));
      for (int k = 0; k < Chunks; ++k) logits[k] *= inverse;
    }
    for (int k = 0; k < Chunks; ++k) store(out + k * kChunk<T>, logits[k]);
  }
}

template <class T>
void update(std::int64_t begin, std::int64_t end, const T* base, std::int64_t labels, std::int64_t stride,
            const MeanFieldTerm<T>* terms, int count, bool normalize, T* scratch, T* out) {
  switch (stride / kChunk<T>) {
    case 1: return update_short<1>(begin, end, base, labels, terms, count, normalize, scratch, out);
    case 2: return update_short<2>(begin, end, base, labels, terms, count, normalize, scratch, out);
    case 3: return update_short<3>(begin, end, base, labels, terms, count, normalize, scratch, out);
    case 4: return update_short<4>(begin, end, base, labels, terms, count, normalize, scratch, out);
    default: return update_long(begin, end, base, labels, stride, terms, count, normalize, scratch, out);
  }
}

// A square of chunks, transposed by perfect shuffles.
template <class V>
SACCADE_HD void transpose(V (&square)[kLanesOf<V>]) {
  constexpr int kN = kLanesOf<V>;
  for (int round = 1; round < kN; round *= 2) {
    V shuffled[kN];
    for (int i = 0; i < kN / 2; ++i) {
      shuffled[2 * i] = interleave<0>(square[i], square[i + kN / 2]);
      shuffled[2 * i + 1] = interleave<1>(square[i], square[i + kN / 2]);
    }
    for (int i = 0; i < kN; ++i) square[i] = shuffled[i];
  }
}

// Squares of chunks, label by label: planes are often a power of two apart, so that lines of more than eight of them
// would drive each other out of L1 before they are used up.
template <class T>
void gather(const T* planes, std::int64_t plane_stride, std::int64_t labels, std::int64_t stride, T sign,
            std::int64_t count, T* rows) {
  using V = Chunk<T>;
  constexpr T kNever = T(-1e30);  // the logit behind the last label: exp gives 0
  const std::int64_t whole = count / kChunk<T> * kChunk<T>;
  for (std::int64_t l = 0; l < stride; l += kChunk<T>)
    for (std::int64_t p = 0; p < whole; p += kChunk<T>) {
      V square[kChunk<T>];
      for (int i = 0; i < kChunk<T>; ++i)
        square[i] = l + i < labels ? load<V>(planes + (l + i) * plane_stride + p) * sign : splat<V>(kNever);
      transpose(square);
      for (int i = 0; i < kChunk<T>; ++i) store(rows + (p + i) * stride + l, square[i]);
    }
  for (std::int64_t p = whole; p < count; ++p)
    for (std::int64_t l = 0; l < stride; ++l)
      rows[p * stride + l] = l < labels ? sign * planes[l * plane_stride + p] : kNever;
}

template <class T>
void scatter(const T* rows, std::int64_t stride, std::int64_t labels, std::int64_t count, std::int64_t plane_stride,
             T* planes) {
  using V = Chunk<T>;
  const std::int64_t whole = count / kChunk<T> * kChunk<T>;
  for (std::int64_t l = 0; l < labels; l += kChunk<T>)
    for (std::int64_t p = 0; p < whole; p += kChunk<T>) {
      V square[kChunk<T>];
      for (int i = 0; i < kChunk<T>; ++i) square[i] = load<V>(rows + (p + i) * stride + l);
      transpose(square);
      for (int i = 0; i < kChunk<T> && l + i < labels; ++i) store(planes + (l + i) * plane_stride + p, square[i]);
    }
  for (std::int64_t p = whole; p < count; ++p)
    for (std::int64_t l = 0; l < labels; ++l) planes[l * plane_stride + p] = rows[p * stride + l];
}

}  // namespace

const MeanFieldTables mean_field_tables = {{gather<float>, update<float>, scatter<float>},
                                           {gather<double>, update<double>, scatter<double>}};

}  // namespace saccade::SACCADE_ISA
