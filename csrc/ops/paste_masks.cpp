#include "ops/paste_masks.h"

#include <algorithm>

#include "common/large_output.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/paste_masks.h"
#include "ops/checks.h"

namespace saccade {
namespace {

template <class T>
void paste(const TensorView& masks, const TensorView& corners, const TensorView& out) {
  const std::int64_t side = masks.size(1), height = out.size(1), width = out.size(2);
  // Pieces of rows that are worth a thread, about 1 MB.
  const std::int64_t rows = std::clamp<std::int64_t>((std::int64_t{1} << 18) / width, 1, height);
  const std::int64_t pieces = (height + rows - 1) / rows;
  const auto kernel = paste_masks_kernels().get<T>();
  parallel_for(masks.size(0) * pieces, 1, [&](std::int64_t begin, std::int64_t end) {
    const Scratch<T> row(side + 1), weight(width);
    const Scratch<typename MaskRows<T>::Index> index(width);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t n = i / pieces, first = i % pieces * rows;
      const auto* corner = corners.ptr<const std::int64_t>() + 4 * n;
      kernel({masks.ptr<const T>() + n * side * side, side, mask_axis<T>(corner[0], corner[2], side),
              mask_axis<T>(corner[1], corner[3], side), first, std::min(first + rows, height), width,
              out.ptr<T>() + (n * height + first) * width, row.data(), weight.data(), index.data()});
    }
  });
}

}  // namespace

void check_paste_masks(const TensorView& masks, const TensorView& corners, std::int64_t height, std::int64_t width) {
  const char* op = "paste_masks";
  require_shape(op, "masks", masks, "(N, S, S)", {-1, -1, -1});
  require(masks.size(1) == masks.size(2) && masks.size(1) > 0, op,
          ": masks must have shape (N, S, S), S at least 1, got ", shape_string(masks));
  require_shape(op, "corners", corners, "(N, 4)", {masks.size(0), 4});
  require_dtype(op, "corners", corners, DType::kInt64);
  require_type(masks.dtype == DType::kFloat32 || masks.dtype == DType::kFloat64, op,
               ": masks must be float32 or float64, got ", dtype_name(masks.dtype));
  require_same_device(op, "masks", masks, "corners", corners);
  require(height >= 0 && width >= 0, op, ": image_size must not be negative, got ", height, " x ", width);
}

void paste_masks(const TensorView& masks, const TensorView& corners, const TensorView& out) {
  if (out.numel() == 0) return;
  advise_huge_pages(out.data, out.numel() * dtype_size(out.dtype));
  masks.dtype == DType::kFloat64 ? paste<double>(masks, corners, out) : paste<float>(masks, corners, out);
}

}  // namespace saccade
