// Greedy suppression (torchvision.ops.nms) in O(n) memory: tiles of 256 boxes, best first, one launch each.
//
// Every block of a launch settles the tile by itself: a thread computes which later boxes of the tile its own one
// suppresses (a row of 256 bits), then a warp walks from one kept box to the next. It then compares one box behind the
// tile per thread with those kept, and the first block appends their numbers. No block waits for another, and the host
// waits for none. The alternative, one launch to settle a tile and one to spread it, takes two launches of some 3 us
// per tile where this one settles it beside the others' work. torchvision's mask of all pairs takes n * n / 8
// bytes, 1.25 GB for 100,000 boxes. Floor: every kept box against every later one that is left, some 15 instructions
// each: 100,000 boxes of which 10,000 are kept 0.3 ms, but 391 launches of 5 to 10 us, 2 to 4 ms.
//
// The quotient is rounded as on the CPU, and decides alone.
#include <type_traits>

#include "common/dispatch.h"
#include "cuda/common/launch.cuh"
#include "cuda/kernels/nms.h"
#include "cuda/kernels/suppression.cuh"
#include "math/half.h"

namespace saccade::cuda {
namespace {

template <class T, class A>
__global__ void __launch_bounds__(kNmsTile) nms_keys_kernel(const __grid_constant__ TensorView scores, A* keys) {
  const std::int64_t i = thread_index();
  if (i >= scores.sizes[0]) return;
  const A score = static_cast<A>(to_float(static_cast<const T*>(scores.data)[i * scores.strides[0]]));
  keys[i] = score != score ? static_cast<A>(__builtin_nan("")) : score + A(0);  // -0 + 0 is 0
}

template <class T, class A>
__global__ void __launch_bounds__(kNmsTile)
    nms_gather_kernel(const __grid_constant__ TensorView boxes, NmsBoxes<A> sorted) {
  const std::int64_t i = thread_index();
  if (i >= sorted.count) return;
  const T* row = static_cast<const T*>(boxes.data) + sorted.order[i] * boxes.strides[0];
  Pack<A, 4> box;
  for (int j = 0; j < 4; ++j) box.value[j] = static_cast<A>(to_float(row[j * boxes.strides[1]]));
  sorted.box[i] = box;
  sorted.removed[i] = 0;
}

template <class T, class L>
__global__ void __launch_bounds__(kNmsTile)
    nms_labels_kernel(const __grid_constant__ TensorView idxs, const std::int64_t* order, L* labels) {
  const std::int64_t i = thread_index();
  if (i >= idxs.sizes[0]) return;
  const T value = static_cast<const T*>(idxs.data)[order[i] * idxs.strides[0]];
  if constexpr (std::is_integral_v<T>) {
    labels[i] = static_cast<L>(value);
  } else {
    labels[i] = static_cast<L>(to_float(value));
  }
}

template <class A>
__device__ A area_of(const Pack<A, 4>& box) {
  return (box.value[2] - box.value[0]) * (box.value[3] - box.value[1]);
}

template <class A>
__device__ bool suppresses(const Pack<A, 4>& kept, A kept_area, const Pack<A, 4>& box, A area, A threshold) {
  const auto lesser = [](A a, A b) { return a < b ? a : b; };
  const auto greater = [](A a, A b) { return a > b ? a : b; };
  const A w = greater(A(0), lesser(kept.value[2], box.value[2]) - greater(kept.value[0], box.value[0]));
  const A h = greater(A(0), lesser(kept.value[3], box.value[3]) - greater(kept.value[1], box.value[1]));
  const A inter = w * h;
  // Disjoint boxes are most, and spare the division: their quotient is zero, or NaN, which suppresses nothing.
  if (threshold >= A(0) && inter == A(0)) return false;
  return inter / (kept_area + area - inter) > threshold;
}

template <class A, class L>
struct NmsShared {
  Pack<A, 4> box[kNmsTile];
  A area[kNmsTile];
  std::conditional_t<std::is_same_v<L, NoLabel>, char, L> label[kNmsTile];
  NmsTile tile;
};

template <class L>
constexpr bool kHasLabels = !std::is_same_v<L, NoLabel>;

template <class A, class L>
__global__ void __launch_bounds__(kNmsTile)
    nms_tile_kernel(NmsBoxes<A> sorted, const L* labels, A threshold, std::int64_t max_output, std::int64_t tile,
                    std::int64_t* keep, std::int64_t* totals) {
  using Shared = NmsShared<A, L>;
  SACCADE_SHARED(Shared, shared);
  NmsTile& choice = shared.tile;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kNmsWarp, warp = thread / kNmsWarp;
  const std::int64_t before = totals[tile], first = tile * kNmsTile;
  if (before >= max_output) {
    if (blockIdx.x == 0 && thread == 0) totals[tile + 1] = before;
    return;
  }
  const int size = sorted.count - first < kNmsTile ? static_cast<int>(sorted.count - first) : kNmsTile;
  const bool alive = thread < size && sorted.removed[first + thread] == 0;
  if (thread < size) {
    shared.box[thread] = sorted.box[first + thread];
    shared.area[thread] = area_of(shared.box[thread]);
    if constexpr (kHasLabels<L>) shared.label[thread] = labels[first + thread];
  }
  const unsigned word = __ballot_sync(0xffffffffu, alive);
  if (lane == 0) choice.alive[warp] = word;
  __syncthreads();
  if (alive) {
    const Pack<A, 4> mine = shared.box[thread];
    const A area = shared.area[thread];
    for (int w = 0; w < kNmsWords; ++w) {
      unsigned bits = 0;
      const int end = size < (w + 1) * kNmsWarp ? size : (w + 1) * kNmsWarp;
      for (int j = thread + 1 > w * kNmsWarp ? thread + 1 : w * kNmsWarp; j < end; ++j) {
        if constexpr (kHasLabels<L>)
          if (!(shared.label[thread] == shared.label[j])) continue;
        if (suppresses(mine, area, shared.box[j], shared.area[j], threshold)) bits |= 1u << (j % kNmsWarp);
      }
      choice.suppressed[thread][w] = bits;
    }
  }
  __syncthreads();
  if (warp == 0) settle_tile(choice, lane);
  __syncthreads();

  if (blockIdx.x == 0) append_kept(choice, sorted.order + first, before, max_output, keep, totals + tile + 1);

  const std::int64_t i = first + kNmsTile + thread_index();
  if (i >= sorted.count || sorted.removed[i] != 0) return;
  const Pack<A, 4> mine = sorted.box[i];
  const A area = area_of(mine);
  for (int k = 0; k < choice.kept_count; ++k) {
    const int j = choice.kept_box[k];
    if constexpr (kHasLabels<L>)
      if (!(shared.label[j] == labels[i])) continue;
    if (!suppresses(shared.box[j], shared.area[j], mine, area, threshold)) continue;
    sorted.removed[i] = 1;
    return;
  }
}

}  // namespace

template <class A>
void launch_nms_keys(const TensorView& scores, A* keys, cudaStream_t stream) {
  dispatch_floating(scores.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch({blocks_for(scores.size(0), kNmsTile), kNmsTile, stream}, nms_keys_kernel<T, A>, scores, keys);
  });
}

template <class A>
void launch_nms_gather(const TensorView& boxes, const NmsBoxes<A>& sorted, cudaStream_t stream) {
  dispatch_floating(boxes.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch({blocks_for(sorted.count, kNmsTile), kNmsTile, stream}, nms_gather_kernel<T, A>, boxes, sorted);
  });
}

template <class L>
void launch_nms_labels(const TensorView& idxs, const std::int64_t* order, L* labels, cudaStream_t stream) {
  const auto run = [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch({blocks_for(idxs.size(0), kNmsTile), kNmsTile, stream}, nms_labels_kernel<T, L>, idxs, order, labels);
  };
  if constexpr (std::is_same_v<L, double>) {
    dispatch_floating(idxs.dtype, run);
  } else {
    switch (idxs.dtype) {
      case DType::kBool: return run(TypeTag<bool>{});
      case DType::kUInt8: return run(TypeTag<std::uint8_t>{});
      case DType::kInt8: return run(TypeTag<std::int8_t>{});
      case DType::kInt16: return run(TypeTag<std::int16_t>{});
      case DType::kInt32: return run(TypeTag<std::int32_t>{});
      default: return run(TypeTag<std::int64_t>{});
    }
  }
}

template <class A, class L>
void launch_nms(const NmsBoxes<A>& sorted, const L* labels, A threshold, std::int64_t max_output, std::int64_t* keep,
                std::int64_t* totals, cudaStream_t stream) {
  check(cudaMemsetAsync(totals, 0, sizeof *totals, stream), "clearing of CUDA memory");
  for (std::int64_t tile = 0; tile * kNmsTile < sorted.count; ++tile) {
    const std::int64_t behind = sorted.count - (tile + 1) * kNmsTile;
    launch({behind > 0 ? blocks_for(behind, kNmsTile) : 1, kNmsTile, stream}, nms_tile_kernel<A, L>, sorted, labels,
           threshold, max_output, tile, keep, totals);
  }
}

#define SACCADE_INSTANTIATE(A)                                                                                       \
  template void launch_nms_keys<A>(const TensorView&, A*, cudaStream_t);                                             \
  template void launch_nms_gather<A>(const TensorView&, const NmsBoxes<A>&, cudaStream_t);                           \
  template void launch_nms<A, NoLabel>(const NmsBoxes<A>&, const NoLabel*, A, std::int64_t, std::int64_t*,           \
                                       std::int64_t*, cudaStream_t);                                                 \
  template void launch_nms<A, double>(const NmsBoxes<A>&, const double*, A, std::int64_t, std::int64_t*,             \
                                      std::int64_t*, cudaStream_t);                                                  \
  template void launch_nms<A, std::int64_t>(const NmsBoxes<A>&, const std::int64_t*, A, std::int64_t, std::int64_t*, \
                                            std::int64_t*, cudaStream_t);
SACCADE_INSTANTIATE(float)
SACCADE_INSTANTIATE(double)
#undef SACCADE_INSTANTIATE
template void launch_nms_labels<double>(const TensorView&, const std::int64_t*, double*, cudaStream_t);
template void launch_nms_labels<std::int64_t>(const TensorView&, const std::int64_t*, std::int64_t*, cudaStream_t);

}  // namespace saccade::cuda
