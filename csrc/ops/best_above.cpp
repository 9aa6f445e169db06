#include "ops/best_above.h"

#include <algorithm>

#include "common/parallel.h"
#include "kernels/best_above.h"
#include "ops/checks.h"

namespace saccade {
namespace {

constexpr std::int64_t kPiece = 1 << 18;  // values that one thread looks at in turn, 1 MB

struct Piece {
  std::int64_t group, begin, end;  // of all values; a group is a section of a row
};

std::vector<Piece> pieces_of(std::int64_t rows, const std::vector<std::int64_t>& sections) {
  std::vector<Piece> pieces;
  std::int64_t group = 0, first = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (const std::int64_t length : sections) {
      for (std::int64_t begin = 0; begin < length; begin += kPiece)
        pieces.push_back({group, first + begin, first + std::min(begin + kPiece, length)});
      first += length, ++group;
    }
  }
  return pieces;
}

template <class T>
bool better(const Above<T>& a, const Above<T>& b) {
  return a.value > b.value || (a.value == b.value && a.index < b.index);
}

// The best `most`, at least one, of which the last is the worst; false where there are fewer.
template <class T>
bool keep_best(std::vector<Above<T>>& found, std::int64_t most) {
  if (static_cast<std::int64_t>(found.size()) < most) return false;
  std::nth_element(found.begin(), found.begin() + most - 1, found.end(), better<T>);
  found.resize(most);
  return true;
}

// The best of a piece; they are thinned out, and the threshold raised, whenever the working memory is full.
template <class T>
std::vector<Above<T>> best_of(const T* values, const Piece& piece, T threshold, std::int64_t most) {
  const auto kernel = best_above_kernels().get<T>();
  std::vector<Above<T>> found;
  for (std::int64_t at = piece.begin; at < piece.end;) {
    const std::int64_t before = static_cast<std::int64_t>(found.size());
    found.resize(before + std::min(piece.end - at, most + kAboveBlock));
    const AboveScan scan = kernel(values, at, piece.end, threshold, found.data() + before,
                                  static_cast<std::int64_t>(found.size()) - before);
    found.resize(before + scan.found);
    at = scan.stopped;
    if (keep_best(found, most)) threshold = found.back().value;
  }
  return found;
}

template <class T>
BestAbove best(const TensorView& values, const std::vector<std::int64_t>& sections, T threshold, std::int64_t most) {
  const std::vector<Piece> pieces = pieces_of(values.size(0), sections);
  std::vector<std::vector<Above<T>>> found(pieces.size());
  parallel_for_dynamic(static_cast<std::int64_t>(pieces.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) found[i] = best_of(values.ptr<const T>(), pieces[i], threshold, most);
  });
  BestAbove result;
  result.counts.assign(values.size(0) * sections.size(), 0);
  for (std::size_t i = 0; i < pieces.size();) {
    const std::int64_t group = pieces[i].group;
    std::vector<Above<T>> all = std::move(found[i]);
    for (++i; i < pieces.size() && pieces[i].group == group; ++i)
      all.insert(all.end(), found[i].begin(), found[i].end());
    keep_best(all, most);
    std::sort(all.begin(), all.end(), better<T>);
    for (const Above<T>& one : all) result.index.push_back(one.index);
    result.counts[group] = static_cast<std::int64_t>(all.size());
  }
  return result;
}

}  // namespace

void check_best_above(const TensorView& values, const std::vector<std::int64_t>& sections, std::int64_t most) {
  const char* op = "best_above";
  require_shape(op, "values", values, "(N, R)", {-1, -1});
  require_type(values.dtype == DType::kFloat32 || values.dtype == DType::kFloat64, op,
               ": values must be float32 or float64, got ", dtype_name(values.dtype));
  std::int64_t sum = 0;
  for (const std::int64_t length : sections) {
    require(length >= 0, op, ": sections must not be negative, got ", length);
    require(length <= values.size(1) - sum, op, ": sections must add up to ", values.size(1), ", got more");
    sum += length;
  }
  require(sum == values.size(1), op, ": sections must add up to ", values.size(1), ", got ", sum);
  require(most >= 1, op, ": most must be at least 1, got ", most);
}

BestAbove best_above(const TensorView& values, const std::vector<std::int64_t>& sections, double threshold,
                     std::int64_t most) {
  return values.dtype == DType::kFloat64 ? best<double>(values, sections, threshold, most)
                                         : best<float>(values, sections, static_cast<float>(threshold), most);
}

}  // namespace saccade
