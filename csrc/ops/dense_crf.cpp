#include "ops/dense_crf.h"

#include <algorithm>
#include <memory>

#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/dense_crf.h"
#include "ops/checks.h"

namespace saccade {

void check_mean_field(const TensorView& logits, const std::vector<LatticeViews>& lattices,
                      const std::vector<TensorView>& compatibility, std::int64_t iterations) {
  constexpr const char* op = "dense_crf";
  require_shape(op, "unary", logits, "(B, L, points)", {-1, -1, -1});
  require(logits.sizes[1] >= 1, op, ": unary must have at least one label, got ", logits.sizes[1]);
  require_type(logits.dtype == DType::kFloat32 || logits.dtype == DType::kFloat64, op,
               ": unary must be float32 or float64, got ", dtype_name(logits.dtype));
  require(iterations >= 0, op, ": iterations must be at least 0, got ", iterations);
  require(lattices.size() == compatibility.size(), op, ": there must be as many lattices as compatibilities, got ",
          lattices.size(), " and ", compatibility.size());
  const std::int64_t labels = logits.sizes[1];
  for (std::size_t k = 0; k < lattices.size(); ++k) {
    check_lattice(op, lattices[k]);
    require(lattices[k].count() == logits.sizes[0] * logits.sizes[2], op, ": lattices must have ",
            logits.sizes[0] * logits.sizes[2], " points, got ", lattices[k].count());
    const TensorView& matrix = compatibility[k];
    require((matrix.ndim == 1 && matrix.sizes[0] == labels) ||
                (matrix.ndim == 2 && matrix.sizes[0] == labels && matrix.sizes[1] == labels),
            op, ": compatibility must have shape (L,) or (L, L), got ", shape_string(matrix));
    require_same_dtype(op, "unary", logits, "weights", lattices[k].weights);
    require_same_dtype(op, "unary", logits, "compatibility", matrix);
    require_same_device(op, "unary", logits, "weights", lattices[k].weights);
    require_same_device(op, "unary", logits, "compatibility", matrix);
  }
}

namespace {

constexpr std::int64_t kPoints = 64;  // whose rows pass through L1 together

template <class T>
class MeanField {
 public:
  MeanField(const TensorView& logits, const std::vector<LatticeViews>& lattices,
            const std::vector<TensorView>& compatibility, bool normalize, const TensorView& out)
      : logits_(logits),
        lattices_(lattices),
        out_(out),
        normalize_(normalize),
        labels_(logits.sizes[1]),
        points_(logits.sizes[2]),
        count_(logits.sizes[0] * points_),
        stride_(lattice_stride<T>(labels_)),
        base_(static_cast<std::size_t>(count_ * stride_)),
        q_(lattices.empty() ? 0 : static_cast<std::size_t>(count_ * stride_)) {
    for (std::size_t k = 0; k < lattices.size(); ++k) {
      const auto size = static_cast<std::size_t>((lattices[k].vertex_count() + 1) * stride_);
      for (int i = 0; i < 2; ++i) tables_.emplace_back(size);
      compatibility_.push_back(padded(compatibility[k]));
      terms_.push_back({lattices[k].corners(), lattices[k].vertices.ptr<std::int32_t>(), lattices[k].weights.ptr<T>(),
                        nullptr, static_cast<T>(lattice_scale(lattices[k].corners())), compatibility_[k].data(),
                        compatibility[k].ndim == 2});
    }
  }

  void run(std::int64_t iterations) {
    gather_rows();
    for (std::int64_t i = 0; i <= iterations; ++i) {
      if (i > 0)
        for (std::size_t k = 0; k < terms_.size(); ++k)
          terms_[k].table = splat_and_blur(lattices_[k], q_.data(), stride_, false, tables_[2 * k].data(),
                                           tables_[2 * k + 1].data());
      update(i > 0 ? static_cast<int>(terms_.size()) : 0, i == iterations || terms_.empty());
      if (terms_.empty()) return;
    }
  }

 private:
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

  // Pieces [begin, end) of at most kPoints points of one image, and the image's plane of label 0 at them.
  template <class Body>
  void for_pieces(const Body& body) const {
    parallel_for_dynamic(count_, 16 * kPoints, [&](std::int64_t begin, std::int64_t end) {
      while (begin < end) {
        const std::int64_t image = begin / points_, stop = std::min({end, begin + kPoints, (image + 1) * points_});
        body(begin, stop, image * labels_ * points_ + begin - image * points_);
        begin = stop;
      }
    });
  }

  void gather_rows() {
    constexpr T kNever = T(-1e30);  // the logit behind the last label: exp gives 0
    for_pieces([&](std::int64_t begin, std::int64_t end, std::int64_t plane) {
      for (std::int64_t l = 0; l < stride_; ++l) {
        T* to = base_.data() + begin * stride_ + l;
        const T* from = logits_.ptr<T>() + plane + l * points_;
        for (std::int64_t p = 0; p < end - begin; ++p) to[p * stride_] = l < labels_ ? from[p] : kNever;
      }
    });
  }

  void update(int terms, bool last) {
    const auto& kernels = mean_field_kernels<T>();
    for_pieces([&](std::int64_t begin, std::int64_t end, std::int64_t plane) {
      const Scratch<T> scratch(static_cast<std::size_t>(2 * stride_ + (last ? kPoints * stride_ : 0)));
      T* rows = last ? scratch.data() + 2 * stride_ : q_.data() + begin * stride_;
      kernels.update(begin, end, base_.data(), labels_, stride_, terms_.data(), terms, normalize_ || !last,
                     scratch.data(), rows);
      if (!last) return;
      for (std::int64_t l = 0; l < labels_; ++l) {
        T* to = out_.ptr<T>() + plane + l * points_;
        for (std::int64_t p = 0; p < end - begin; ++p) to[p] = rows[p * stride_ + l];
      }
    });
  }

  const TensorView& logits_;
  const std::vector<LatticeViews>& lattices_;
  const TensorView& out_;
  bool normalize_;
  std::int64_t labels_, points_, count_, stride_;
  Scratch<T> base_, q_;
  std::vector<Scratch<T>> tables_, compatibility_;
  std::vector<MeanFieldTerm<T>> terms_;
};

}  // namespace

void mean_field(const TensorView& logits, const std::vector<LatticeViews>& lattices,
                const std::vector<TensorView>& compatibility, std::int64_t iterations, bool normalize,
                const TensorView& out) {
  check_mean_field(logits, lattices, compatibility, iterations);
  if (logits.dtype == DType::kFloat32)
    MeanField<float>(logits, lattices, compatibility, normalize, out).run(iterations);
  else
    MeanField<double>(logits, lattices, compatibility, normalize, out).run(iterations);
}

}  // namespace saccade
