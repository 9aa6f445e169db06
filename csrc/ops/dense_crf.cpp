#include "ops/dense_crf.h"

#include <algorithm>
#include <utility>

#include "common/large_output.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/dense_crf.h"
#include "ops/checks.h"

namespace saccade {

void check_mean_field(const TensorView& unary, const std::vector<MeanFieldLattice>& lattices,
                      const std::vector<TensorView>& compatibility, std::int64_t iterations) {
  constexpr const char* op = "dense_crf";
  require_shape(op, "unary", unary, "(B, L, points)", {-1, -1, -1});
  const std::int64_t labels = unary.sizes[1], points = unary.sizes[0] * unary.sizes[2];
  require(labels >= 1, op, ": unary must have at least one label, got ", labels);
  require_type(unary.dtype == DType::kFloat32 || unary.dtype == DType::kFloat64, op,
               ": unary must be float32 or float64, got ", dtype_name(unary.dtype));
  require(iterations >= 0, op, ": iterations must be at least 0, got ", iterations);
  require(lattices.size() == compatibility.size(), op, ": there must be as many lattices as compatibilities, got ",
          lattices.size(), " and ", compatibility.size());
  for (std::size_t k = 0; k < lattices.size(); ++k) {
    const LatticeViews& lattice = lattices[k].lattice;
    check_lattice(op, lattice);
    require(lattice.count() == points, op, ": lattices must have ", points, " points, got ", lattice.count());
    const TensorView& matrix = compatibility[k];
    require((matrix.ndim == 1 && matrix.sizes[0] == labels) ||
                (matrix.ndim == 2 && matrix.sizes[0] == labels && matrix.sizes[1] == labels),
            op, ": compatibility must have shape (L,) or (L, L), got ", shape_string(matrix));
    const auto check_beside = [&](const char* name, const TensorView& view) {
      require_same_dtype(op, "unary", unary, name, view);
      require_same_device(op, "unary", unary, name, view);
    };
    check_beside("weights", lattice.weights);
    check_beside("compatibility", matrix);
    for (const auto& [name, factor] : {std::pair("before", lattices[k].before), std::pair("after", lattices[k].after)})
      if (factor) {
        require_shape(op, name, *factor, "(B * points,)", {points});
        check_beside(name, *factor);
      }
  }
}

namespace {

constexpr std::int64_t kPoints = 64;  // whose logits pass through L1 together

template <class T>
class MeanField {
 public:
  MeanField(const TensorView& unary, double sign, const std::vector<MeanFieldLattice>& lattices,
            const std::vector<TensorView>& compatibility, bool normalize, const TensorView& out)
      : unary_(unary),
        sign_(static_cast<T>(sign)),
        lattices_(lattices),
        out_(out),
        normalize_(normalize),
        labels_(unary.sizes[1]),
        points_(unary.sizes[2]),
        bands_((points_ + kBandPoints - 1) / kBandPoints),
        stride_(lattice_stride<T>(labels_ + (labels_ == 1))) {
    for (std::size_t k = 0; k < lattices.size(); ++k) {
      const LatticeViews& lattice = lattices[k].lattice;
      const std::int64_t vertices = lattice.vertex_count() + 1;
      received_.push_back(large(lattice.segment_count() * stride_));
      for (int i = 0; i < 2; ++i) tables_.push_back(large(vertices * stride_));
      compatibility_.push_back(padded(compatibility[k]));
      const auto& after = lattices[k].after;
      terms_.push_back({lattice.corners(), lattice.vertices.ptr<std::int32_t>(), lattice.weights.ptr<T>(), nullptr,
                        static_cast<T>(lattice_scale(lattice.corners())), after ? after->template ptr<T>() : nullptr,
                        compatibility_[k].data(), compatibility[k].ndim == 2});
      splat_weights_.push_back(weights_before(lattices[k]));
    }
  }

  void run(std::int64_t iterations) {
    if (terms_.empty()) iterations = 0;
    for (std::int64_t i = 0; i <= iterations; ++i) {
      for (std::size_t k = 0; i > 0 && k < terms_.size(); ++k)
        terms_[k].table = join_and_blur(lattices_[k].lattice, received_[k].data(), stride_, false,
                                        tables_[2 * k].data(), tables_[2 * k + 1].data());
      parallel_for_dynamic(unary_.sizes[0] * bands_, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t band = begin; band < end; ++band)
          step(band / bands_, band % bands_, i == 0 ? 0 : static_cast<int>(terms_.size()), i == iterations);
      });
    }
  }

 private:
  static Scratch<T> large(std::int64_t count) {
    Scratch<T> result(static_cast<std::size_t>(count));
    advise_huge_pages(result.data(), result.size() * sizeof(T));
    return result;
  }

  // Rows of whole chunks, zeros behind the labels; of a matrix its transpose, whose row j is what label j adds.
  Scratch<T> padded(const TensorView& matrix) const {
    const std::int64_t rows = matrix.ndim == 2 ? labels_ : 1;
    Scratch<T> result(static_cast<std::size_t>(rows * stride_));
    std::fill_n(result.data(), result.size(), T(0));
    for (std::int64_t j = 0; j < rows; ++j)
      for (std::int64_t l = 0; l < labels_; ++l)
        result[static_cast<std::size_t>(j * stride_ + l)] =
            matrix.ptr<T>()[matrix.ndim == 2 ? l * matrix.strides[0] + j * matrix.strides[1] : l * matrix.strides[0]];
    return result;
  }

  // The weights of splat times what the points are multiplied with before; nothing if that is one.
  static Scratch<T> weights_before(const MeanFieldLattice& scaled) {
    const std::int64_t entries = scaled.before ? scaled.lattice.points.numel() : 0;
    Scratch<T> result = large(entries);
    parallel_for(entries, 16384, [&](std::int64_t begin, std::int64_t end) {
      const auto* points = scaled.lattice.points.template ptr<std::int32_t>();
      const T *weights = scaled.lattice.point_weights.template ptr<T>(), *factors = scaled.before->template ptr<T>();
      for (std::int64_t e = begin; e < end; ++e) result.data()[e] = weights[e] * factors[points[e]];
    });
    return result;
  }

  // Slice, softmax and splat of one band; in the first step nothing is sliced, in the last one nothing splat.
  void step(std::int64_t image, std::int64_t band, int terms, bool last) {
    const auto& kernels = mean_field_kernels<T>();
    const std::int64_t start = image * points_, first = band * kBandPoints,
                       end = std::min(points_, first + kBandPoints);
    const std::int64_t plane = image * labels_ * points_;
    const Scratch<T> base(static_cast<std::size_t>(kPoints * stride_)), scratch(static_cast<std::size_t>(2 * stride_));
    const Scratch<T> rows(static_cast<std::size_t>((last ? kPoints : end - first) * stride_));
    for (std::int64_t p = first; p < end; p += kPoints) {
      const std::int64_t count = std::min(kPoints, end - p);
      kernels.gather(unary_.ptr<T>() + plane + p, points_, labels_, stride_, sign_, count, base.data());
      T* out = rows.data() + (last ? 0 : (p - first) * stride_);
      kernels.update(start + p, start + p + count, base.data(), labels_, stride_, terms_.data(), terms,
                     normalize_ || !last, scratch.data(), out);
      if (last) kernels.scatter(out, stride_, labels_, count, points_, out_.ptr<T>() + plane + p);
    }
    if (last) return;
    for (std::size_t k = 0; k < terms_.size(); ++k) splat(k, start + first, start + end, rows.data());
  }

  // What the points [begin, end) of a band give to its segments.
  void splat(std::size_t term, std::int64_t begin, std::int64_t end, const T* rows) {
    const LatticeViews& lattice = lattices_[term].lattice;
    const auto* segments = lattice.segments.ptr<std::int32_t>();
    const auto find = [&](std::int64_t point) {
      const auto entry = static_cast<std::int32_t>(point * lattice.corners());
      return std::lower_bound(segments, segments + lattice.segment_count(), entry) - segments;
    };
    const T* weights = lattices_[term].before ? splat_weights_[term].data() : lattice.point_weights.ptr<T>();
    permutohedral_kernels<T>().splat(find(begin), find(end), segments, lattice.points.ptr<std::int32_t>(), weights,
                                     rows, begin, stride_, received_[term].data());
  }

  const TensorView& unary_;
  T sign_;
  const std::vector<MeanFieldLattice>& lattices_;
  const TensorView& out_;
  bool normalize_;
  std::int64_t labels_, points_, bands_, stride_;
  std::vector<Scratch<T>> received_, tables_, compatibility_, splat_weights_;
  std::vector<MeanFieldTerm<T>> terms_;
};

}  // namespace

void mean_field(const TensorView& unary, double sign, const std::vector<MeanFieldLattice>& lattices,
                const std::vector<TensorView>& compatibility, std::int64_t iterations, bool normalize,
                const TensorView& out) {
  check_mean_field(unary, lattices, compatibility, iterations);
  if (unary.numel() == 0) return;
  advise_huge_pages(out.data, static_cast<std::size_t>(out.numel()) * dtype_size(out.dtype));
  if (unary.dtype == DType::kFloat32)
    MeanField<float>(unary, sign, lattices, compatibility, normalize, out).run(iterations);
  else
    MeanField<double>(unary, sign, lattices, compatibility, normalize, out).run(iterations);
}

}  // namespace saccade
