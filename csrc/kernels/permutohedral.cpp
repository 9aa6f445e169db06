// The permutohedral lattice: embedding of points, splat, blur, slice (Adams, Baek and Davis, Fast high-dimensional
// filtering using the permutohedral lattice, 2010).
#include "kernels/permutohedral.h"

#include "kernels/permutohedral_rows.h"

namespace saccade::SACCADE_ISA {
namespace {

constexpr int kBlock = 64;  // points embedded at a time

// A block of points, coordinate by coordinate.
template <class T, int D>
struct Points {
  T features[D][kBlock];
  T weights[D + 1][kBlock];
  T quotients[D + 1][kBlock];  // of the closest point of remainder 0, by D + 1
  T ranks[D + 1][kBlock];      // of the residuals, the largest first
};

// Lanes [i, i + lanes) of a block; the bits of those whose coordinates are too large or not finite.
template <class T, int D>
SACCADE_HD bool embed_lanes(Points<T, D>& points, int i, const T* scales) {
  using V = Vec<T>;
  constexpr T kRound = sizeof(T) == 4 ? T(12582912.0) : T(6755399441055744.0);  // rounds to integers
  const V limit = splat<V>(T((1 << (lattice_key_bits(D) - 1)) - 3));
  V x[D + 1], q[D + 1], rank[D + 1], sum = V{};
  for (int j = D; j > 0; --j) {
    const V feature = load<V>(points.features[j - 1] + i) * scales[j - 1];
    x[j] = (sum - feature * T(j)) * T(1.0 / (D + 1));
    sum += feature;
  }
  x[0] = sum * T(1.0 / (D + 1));
  auto good = x[0] == x[0];
  V total = V{};
  for (int j = 0; j <= D; ++j) {
    good &= (x[j] < limit) & (x[j] > -limit);
    q[j] = (x[j] + kRound) - kRound;
    total += q[j];
    x[j] -= q[j];
    rank[j] = V{};
  }
  const V one = splat<V>(1), zero = V{};
  for (int j = 0; j < D; ++j)
    for (int k = j + 1; k <= D; ++k) {
      const auto behind = x[j] < x[k];
      rank[j] += select(behind, one, zero);
      rank[k] += select(behind, zero, one);
    }
  // The quotients must sum to zero: those that were rounded furthest go the other way.
  for (int j = 0; j <= D; ++j) {
    rank[j] += total;
    const V step = select(rank[j] < zero, one, select(rank[j] > T(D), -one, zero));
    rank[j] += step * T(D + 1);
    q[j] += step;
    x[j] -= step;
    store(points.quotients[j] + i, q[j]);
    store(points.ranks[j] + i, rank[j]);
  }
  V sorted[D + 1];
  for (int r = 0; r <= D; ++r) {
    sorted[r] = zero;
    for (int j = 0; j <= D; ++j) sorted[r] = select(rank[j] == T(r), x[j], sorted[r]);
  }
  store(points.weights[0] + i, one + sorted[D] - sorted[0]);
  for (int r = 1; r <= D; ++r) store(points.weights[r] + i, sorted[D - r] - sorted[D - r + 1]);
  return !any(~good);
}

template <class T, int D>
bool embed(const T* features, std::int64_t n, T* weights, std::uint64_t* keys) {
  constexpr int kBits = lattice_key_bits(D);
  T scales[D];  // a blur of 1-2-1 along each axis and the splat have variance 2/3 * (D + 1)^2 together
  for (int j = 0; j < D; ++j) scales[j] = T(__builtin_sqrt(2.0 / 3) * (D + 1) / __builtin_sqrt((j + 1.0) * (j + 2.0)));
  Points<T, D> points = {};
  bool good = true;
  for (std::int64_t first = 0; first < n; first += kBlock) {
    const int count = static_cast<int>(n - first < kBlock ? n - first : kBlock);
    for (int p = 0; p < count; ++p)
      for (int j = 0; j < D; ++j) points.features[j][p] = features[(first + p) * D + j];
    for (int p = 0; p < count; p += kLanes<T>) good &= embed_lanes<T, D>(points, p, scales);
    if (!good) return false;  // before numbers that no integer holds are converted
    for (int p = 0; p < count; ++p) {
      T* point_weights = weights + (first + p) * (D + 1);
      std::uint64_t* point_keys = keys + (first + p) * (D + 1);
      std::uint64_t units[D + 1];  // of the coordinate of each rank; the last coordinate is not in the key
      std::uint64_t key = 0;
      for (int j = 0; j <= D; ++j) {
        point_weights[j] = points.weights[j][p];
        const std::uint64_t unit = j < D ? std::uint64_t{1} << (4 + kBits * j) : 0;
        units[static_cast<int>(points.ranks[j][p])] = unit;
        key +=
            static_cast<std::uint64_t>(static_cast<std::int64_t>(points.quotients[j][p]) + (1 << (kBits - 1))) * unit;
      }
      point_keys[0] = key;
      // The vertex of remainder r: r more everywhere, D + 1 less where the residual is among the r smallest.
      for (int r = 1; r <= D; ++r) point_keys[r] = key += 1 - units[D - r + 1];
    }
  }
  return good;
}

// The row of an entry, times its weight.
template <bool Weighted, class T>
SACCADE_HD void sum_rows(std::int64_t begin, std::int64_t end, const std::int32_t* starts, const std::int32_t* indices,
                         const T* weights, const T* values, std::int64_t first, std::int64_t stride, T* out) {
  if (stride == 1) {
    for (std::int64_t s = begin; s < end; ++s) {
      T sum = 0;
      for (std::int64_t e = starts[s]; e < starts[s + 1]; ++e)
        sum += Weighted ? weights[e] * values[indices[e] - first] : values[indices[e]];
      out[s] = sum;
    }
    return;
  }
  for_columns<T>(stride, [&](std::int64_t column, auto chunks) {
    constexpr int kChunks = decltype(chunks)::value;
    for (std::int64_t s = begin; s < end; ++s) {
      Chunk<T> sum[kChunks] = {};
      for (std::int64_t e = starts[s]; e < starts[s + 1]; ++e) {
        const T* row = values + (indices[e] - first) * stride + column;
        for (int k = 0; k < kChunks; ++k) {
          const auto value = load<Chunk<T>>(row + k * kChunk<T>);
          if constexpr (Weighted)
            sum[k] = fma<Chunk<T>>(splat<Chunk<T>>(weights[e]), value, sum[k]);
          else
            sum[k] += value;
        }
      }
      for (int k = 0; k < kChunks; ++k) store(out + s * stride + column + k * kChunk<T>, sum[k]);
    }
  });
}

template <class T>
void splat_rows(std::int64_t begin, std::int64_t end, const std::int32_t* starts, const std::int32_t* points,
                const T* weights, const T* values, std::int64_t first, std::int64_t stride, T* out) {
  sum_rows<true>(begin, end, starts, points, weights, values, first, stride, out);
}

template <class T>
void join_rows(std::int64_t begin, std::int64_t end, const std::int32_t* starts, const std::int32_t* parts,
               const T* values, std::int64_t stride, T* out) {
  sum_rows<false, T>(begin, end, starts, parts, nullptr, values, 0, stride, out);
}

template <class T>
void blur_rows(std::int64_t begin, std::int64_t end, const std::int32_t* neighbours, const T* from, std::int64_t stride,
               T* to) {
  if (stride == 1) {
    for (std::int64_t v = begin; v < end; ++v)
      to[v] = from[v] + T(0.5) * (from[neighbours[2 * v]] + from[neighbours[2 * v + 1]]);
    return;
  }
  for (std::int64_t v = begin; v < end; ++v) {
    const T *row = from + v * stride, *one = from + neighbours[2 * v] * stride,
            *other = from + neighbours[2 * v + 1] * stride;
    for (std::int64_t i = 0; i < stride; i += kChunk<T>) {
      const auto sides = load<Chunk<T>>(one + i) + load<Chunk<T>>(other + i);
      store(to + v * stride + i, fma<Chunk<T>>(sides, splat<Chunk<T>>(T(0.5)), load<Chunk<T>>(row + i)));
    }
  }
}

template <class T>
void slice_rows(std::int64_t begin, std::int64_t end, int corners, const std::int32_t* vertices, const T* weights,
                const T* table, std::int64_t stride, T scale, T* out, std::int64_t channels) {
  if (stride == 1) {
    for (std::int64_t p = begin; p < end; ++p) {
      T sum = 0;
      for (std::int64_t e = p * corners; e < (p + 1) * corners; ++e) sum += weights[e] * table[vertices[e]];
      out[p] = scale * sum;
    }
    return;
  }
  for_columns<T>(stride, [&](std::int64_t column, auto chunks) {
    constexpr int kChunks = decltype(chunks)::value;
    for (std::int64_t p = begin; p < end; ++p) {
      Chunk<T> sum[kChunks];
      slice_point<kChunks>(corners, vertices + p * corners, weights + p * corners, table + column, stride, scale, sum);
      for (int k = 0; k < kChunks; ++k) {
        const std::int64_t first = column + k * kChunk<T>, left = channels - first;
        if (left >= kChunk<T>)
          store(out + p * channels + first, sum[k]);
        else
          store_partial(out + p * channels + first, sum[k], left);
      }
    }
  });
}

template <class T>
constexpr PermutohedralKernels<T> kernels_of() {
  return {{embed<T, 1>, embed<T, 2>, embed<T, 3>, embed<T, 4>, embed<T, 5>, embed<T, 6>, embed<T, 7>, embed<T, 8>},
          splat_rows<T>,
          join_rows<T>,
          blur_rows<T>,
          slice_rows<T>};
}

}  // namespace

const PermutohedralTables permutohedral_tables = {kernels_of<float>(), kernels_of<double>()};

}  // namespace saccade::SACCADE_ISA
