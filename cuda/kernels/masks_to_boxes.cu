// Bounding boxes of masks: bound by reading them once.
//
// A warp owns a row and takes 16 aligned bytes per lane at a time; what sticks out at both ends is read element by
// element. The four extents of a mask are gathered as maxima of integers, of which zero means none, so that neither
// order nor repetition matters: w - x1, h - y1, x2 + 1, y2 + 1.
#include "cuda/common/launch.cuh"
#include "cuda/kernels/masks_to_boxes.h"

namespace saccade::cuda {
namespace {

constexpr int kThreads = 256, kWarp = 32;
using Extent = unsigned long long;

// The first and one past the last element that this lane has seen to be set.
struct Span {
  std::int64_t first, end;
};

template <class Word>
__device__ void look(Word word, Word bits, std::int64_t x, Span& span) {
  if (!(word & bits)) return;
  if (x < span.first) span.first = x;
  if (x >= span.end) span.end = x + 1;
}

// The words of one row that are this lane's.
template <class Word>
__device__ Span scan_row(const Word* row, std::int64_t w, Word bits, int lane) {
  constexpr int kWords = 16 / sizeof(Word);
  Span span = {w, 0};
  const std::int64_t misaligned = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(row) % 16 / sizeof(Word));
  const std::int64_t head = misaligned == 0 ? 0 : min(w, kWords - misaligned);
  const std::int64_t vectors = (w - head) / kWords, tail = head + vectors * kWords;
  if (lane < head) look(row[lane], bits, lane, span);
  for (std::int64_t v = lane; v < vectors; v += kWarp) {
    const std::int64_t x = head + v * kWords;
    const uint4 loaded = *reinterpret_cast<const uint4*>(row + x);
    if ((loaded.x | loaded.y | loaded.z | loaded.w) == 0) continue;
    Word words[kWords];
    memcpy(words, &loaded, sizeof words);
#pragma unroll
    for (int i = 0; i < kWords; ++i) look(words[i], bits, x + i, span);
  }
  if (tail + lane < w) look(row[tail + lane], bits, tail + lane, span);
  return span;
}

template <class Word>
__global__ void __launch_bounds__(kThreads)
    masks_extents_kernel(const Word* masks, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t mask_stride,
                         std::int64_t row_stride, Word bits, Extent* extents) {
  const std::int64_t index = thread_index() / kWarp;
  if (index >= n * h) return;  // the whole warp
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t mask = index / h, y = index % h;
  Span span = scan_row(masks + mask * mask_stride + y * row_stride, w, bits, lane);
  for (int step = kWarp / 2; step > 0; step /= 2) {
    span.first = min(span.first, __shfl_xor_sync(0xffffffffu, span.first, step));
    span.end = max(span.end, __shfl_xor_sync(0xffffffffu, span.end, step));
  }
  if (lane > 0 || span.end == 0) return;
  atomicMax(extents + 4 * mask, static_cast<Extent>(w - span.first));
  atomicMax(extents + 4 * mask + 1, static_cast<Extent>(h - y));
  atomicMax(extents + 4 * mask + 2, static_cast<Extent>(span.end));
  atomicMax(extents + 4 * mask + 3, static_cast<Extent>(y + 1));
}

__global__ void __launch_bounds__(kThreads)
    masks_boxes_kernel(const Extent* extents, std::int64_t n, std::int64_t h, std::int64_t w, float* boxes) {
  const std::int64_t i = thread_index();
  if (i >= n) return;
  const Extent* extent = extents + 4 * i;
  const bool any = extent[2] > 0;
  boxes[4 * i] = any ? static_cast<float>(w - static_cast<std::int64_t>(extent[0])) : 0.0f;
  boxes[4 * i + 1] = any ? static_cast<float>(h - static_cast<std::int64_t>(extent[1])) : 0.0f;
  boxes[4 * i + 2] = any ? static_cast<float>(extent[2] - 1) : 0.0f;
  boxes[4 * i + 3] = any ? static_cast<float>(extent[3] - 1) : 0.0f;
}

// The bits that make an element differ from zero: all but the sign of a floating one.
template <class Word>
Word significant_bits(DType dtype) {
  const Word all = static_cast<Word>(~Word{0});
  return is_floating(dtype) ? static_cast<Word>(all >> 1) : all;
}

template <class Word>
void launch_extents(const TensorView& masks, Extent* extents, cudaStream_t stream) {
  const std::int64_t n = masks.size(0), h = masks.size(1), w = masks.size(2);
  launch({blocks_for(n * h, kThreads / kWarp), kThreads, stream}, masks_extents_kernel<Word>, masks.ptr<const Word>(),
         n, h, w, masks.stride(0), masks.stride(1), significant_bits<Word>(masks.dtype), extents);
}

}  // namespace

void launch_masks_to_boxes(const TensorView& masks, Extent* extents, const TensorView& boxes, cudaStream_t stream) {
  const std::int64_t n = masks.size(0);
  check(cudaMemsetAsync(extents, 0, static_cast<std::size_t>(4 * n) * sizeof(Extent), stream), "masks_to_boxes");
  switch (dtype_size(masks.dtype)) {
    case 8: launch_extents<std::uint64_t>(masks, extents, stream); break;
    case 4: launch_extents<std::uint32_t>(masks, extents, stream); break;
    case 2: launch_extents<std::uint16_t>(masks, extents, stream); break;
    default: launch_extents<std::uint8_t>(masks, extents, stream); break;
  }
  launch({blocks_for(n, kThreads), kThreads, stream}, masks_boxes_kernel, extents, n, masks.size(1), masks.size(2),
         boxes.ptr<float>());
}

}  // namespace saccade::cuda
