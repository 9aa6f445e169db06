#include "ops/best_above.h"

#include <algorithm>

#include "common/parallel.h"
#include "kernels/best_above.h"
#include "ops/checks.h"

namespace saccade {
namespace {

constexpr std::int64_t kPiece = 1 << 18;  // values that one thread looks at in turn, 1 MB

struct Piece {
  std::int64_t row, section, begin, end;  // of the section's values
};

std::vector<Piece> pieces_of(const std::vector<TensorView>& sections) {
  std::vector<Piece> pieces;
  for (std::int64_t row = 0; row < sections.at(0).size(0); ++row) {
    for (std::size_t s = 0; s < sections.size(); ++s) {
      const std::int64_t length = sections[s].size(1), first = row * length;
      for (std::int64_t begin = 0; begin < length; begin += kPiece)
        pieces.push_back({row, static_cast<std::int64_t>(s), first + begin, first + std::min(begin + kPiece, length)});
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
BestAbove best(const std::vector<TensorView>& sections, T threshold, std::int64_t most) {
  const std::vector<Piece> pieces = pieces_of(sections);
  std::vector<std::vector<Above<T>>> found(pieces.size());
  parallel_for_dynamic(static_cast<std::int64_t>(pieces.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      found[i] = best_of(sections[pieces[i].section].ptr<const T>(), pieces[i], threshold, most);
  });
  std::vector<std::int64_t> before = {0};  // columns of the sections before
  for (const TensorView& section : sections) before.push_back(before.back() + section.size(1));
  BestAbove result;
  for (std::size_t i = 0; i < pieces.size();) {
    const Piece& first = pieces[i];
    std::vector<Above<T>> all = std::move(found[i]);
    for (++i; i < pieces.size() && pieces[i].row == first.row && pieces[i].section == first.section; ++i)
      all.insert(all.end(), found[i].begin(), found[i].end());
    keep_best(all, most);
    std::sort(all.begin(), all.end(), better<T>);
    const std::int64_t shift = before[first.section] - first.row * sections[first.section].size(1);
    for (const Above<T>& one : all) {
      result.value.push_back(static_cast<double>(one.value));
      result.row.push_back(first.row);
      result.column.push_back(one.index + shift);
    }
  }
  return result;
}

}  // namespace

void check_best_above(const std::vector<TensorView>& sections, std::int64_t most) {
  const char* op = "best_above";
  require(!sections.empty(), op, ": sections must not be empty");
  for (const TensorView& section : sections) {
    require_shape(op, "a section", section, "(N, R)", {-1, -1});
    require_type(section.dtype == DType::kFloat32 || section.dtype == DType::kFloat64, op,
                 ": sections must be float32 or float64, got ", dtype_name(section.dtype));
    require_same_dtype(op, "all sections", section, "the first", sections[0]);
    require_same_device(op, "all sections", section, "the first", sections[0]);
    require(section.size(0) == sections[0].size(0), op, ": sections must have the same number of rows, got ",
            sections[0].size(0), " and ", section.size(0));
  }
  require(most >= 1, op, ": most must be at least 1, got ", most);
}

BestAbove best_above(const std::vector<TensorView>& sections, double threshold, std::int64_t most) {
  return sections.at(0).dtype == DType::kFloat64 ? best<double>(sections, threshold, most)
                                                 : best<float>(sections, static_cast<float>(threshold), most);
}

}  // namespace saccade
