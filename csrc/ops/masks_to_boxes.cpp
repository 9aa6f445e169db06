#include "ops/masks_to_boxes.h"

#include "common/parallel.h"
#include "kernels/masks_to_boxes.h"
#include "ops/checks.h"

namespace saccade {

namespace {

// The bits that make an element differ from zero: all but the sign of a floating one.
template <class Word>
constexpr Word significant_bits(DType dtype) {
  return static_cast<Word>(is_floating(dtype) ? static_cast<Word>(~Word{0}) >> 1 : ~Word{0});
}

template <class Word>
void scan_all(MaskToBox<Word> kernel, const TensorView& masks, const TensorView& boxes) {
  parallel_for_dynamic(masks.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      kernel(static_cast<const Word*>(masks.data) + i * masks.stride(0), masks.size(1), masks.size(2), masks.stride(1),
             significant_bits<Word>(masks.dtype), boxes.ptr<float>() + i * 4);
  });
}

}  // namespace

void check_masks_to_boxes(const TensorView& masks) {
  require_shape("masks_to_boxes", "masks", masks, "(N, H, W)", {-1, -1, -1});
  require_type(masks.dtype != DType::kUnsupported,
               "masks_to_boxes: masks must be of a bool, integer or floating dtype");
}

void masks_to_boxes(const TensorView& masks, const TensorView& boxes) {
  const MasksToBoxesKernels& kernels = masks_to_boxes_kernels();
  switch (dtype_size(masks.dtype)) {
    case 8: return scan_all(kernels.words64, masks, boxes);
    case 4: return scan_all(kernels.words32, masks, boxes);
    case 2: return scan_all(kernels.words16, masks, boxes);
    default: return scan_all(kernels.words8, masks, boxes);
  }
}

}  // namespace saccade
