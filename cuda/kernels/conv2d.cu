// conv2d and the gradient of its input: both gather, as implicit matrix products (conv2d_gemm.cuh), or directly where
// groups have few channels (conv2d_direct.cuh). Nothing is unfolded into memory. Floor for 8 x 256 x 56 x 56, 256
// channels, 3 x 3 on an H100: 30 GFLOP, 0.45 ms in float32 at 67 TFLOP/s, 0.03 ms in float16.
#include <algorithm>

#include "cuda/kernels/conv2d.h"
#include "cuda/kernels/conv2d_direct.cuh"
#include "cuda/kernels/conv2d_tensor_core.cuh"

namespace saccade::cuda {
namespace {

constexpr int kPackThreads = 256;

// A thread per packed element (kernel_h, kernel_w, depth, groups * width); the weight is (groups * width, depth, taps),
// or (groups * depth, width, taps) for the gradient.
template <class T>
__global__ void __launch_bounds__(kPackThreads)
    conv2d_pack_kernel(std::int64_t taps, std::int64_t depth, std::int64_t width, std::int64_t across,
                       std::int64_t count, bool for_gradient, const T* weight, T* packed) {
  const std::int64_t i = thread_index();
  if (i >= count) return;
  const std::int64_t line = quotient(i, across), column = i - line * across;
  const std::int64_t tap = quotient(line, depth), row = line - tap * depth;
  const std::int64_t group = quotient(column, width);
  const std::int64_t at = for_gradient ? (group * depth + row) * width + column - group * width : column * depth + row;
  packed[i] = weight[at * taps + tap];
}

template <class T>
constexpr bool kIsHalf = sizeof(T) == 2;

template <class T>
void launch_gather(const GatherArguments<T>& arguments, bool channels_last, std::int64_t blocks, cudaStream_t stream) {
  constexpr int kPack = 16 / sizeof(T);
  if (!channels_last) {
    if constexpr (kIsHalf<T>) {
      launch_gemm<TensorCoreMath<T, false, false>, 1, true>(arguments, blocks, stream);
    } else {
      launch_gemm<CoreMath<T, false, false>, 1, true>(arguments, blocks, stream);
    }
    return;
  }
  const bool packs =
      made_of_packs<T>(16, arguments.depth, arguments.image.data) && made_of_packs<T>(16, arguments.width, arguments.b);
  if (!packs) {
    launch_gemm<CoreMath<T, true, true>, 1, true>(arguments, blocks, stream);
  } else if constexpr (kIsHalf<T>) {
    launch_gemm<TensorCoreMath<T, true, true>, kPack, true>(arguments, blocks, stream);
  } else {
    launch_gemm<CoreMath<T, true, true>, kPack, true>(arguments, blocks, stream);
  }
}

// Source and target as they are: input and result, or the gradient of the result and that of the input.
template <class T>
void gather(const ConvShape& shape, bool channels_last, bool for_gradient, const T* source, const T* packed,
            const ConvTail<T>& tail, T* out, cudaStream_t stream) {
  const std::int64_t source_h = for_gradient ? shape.y.out : shape.y.in;
  const std::int64_t source_w = for_gradient ? shape.x.out : shape.x.in;
  const std::int64_t target_h = for_gradient ? shape.y.in : shape.y.out;
  const std::int64_t target_w = for_gradient ? shape.x.in : shape.x.out;
  const std::int64_t source_channels = for_gradient ? shape.out_channels : shape.channels;
  const std::int64_t target_channels = for_gradient ? shape.channels : shape.out_channels;
  const ImageLayout from = image_layout(source_channels, source_h * source_w, channels_last);
  const ImageLayout to = image_layout(target_channels, target_h * target_w, channels_last);
  const std::int64_t count = shape.images * target_channels * target_h * target_w;
  if (count == 0) return;
  if (is_direct(shape)) {
    const LaunchShape blocks = {blocks_for(count, kDirectThreads), kDirectThreads, stream};
    if (for_gradient) {
      launch(blocks, conv2d_direct_backward_kernel<T>, shape, channels_last, from, count, source, packed, tail, out);
    } else {
      launch(blocks, conv2d_direct_kernel<T>, shape, channels_last, from, count, source, packed, tail, out);
    }
    return;
  }
  using Math = CoreMath<T, true, true>;  // all have the same kM and kN
  const std::int64_t classes_y = for_gradient ? std::min(shape.y.stride, target_h) : 1;
  const std::int64_t classes_x = for_gradient ? std::min(shape.x.stride, target_w) : 1;
  const std::int64_t rows = (target_h + classes_y - 1) / classes_y * ((target_w + classes_x - 1) / classes_x);
  const std::int64_t width = target_channels / shape.groups;
  const std::int64_t m_tiles = (shape.images * rows + Math::kM - 1) / Math::kM;
  const std::int64_t n_tiles = (width + Math::kN - 1) / Math::kN;
  const GatherArguments<T> arguments = {{source, source_h, source_w, from.pixel},
                                        packed,
                                        out,
                                        shape.y,
                                        shape.x,
                                        for_gradient,
                                        shape.images,
                                        shape.groups,
                                        source_channels / shape.groups,
                                        width,
                                        target_w,
                                        from,
                                        to,
                                        tail,
                                        m_tiles,
                                        n_tiles,
                                        classes_x};
  launch_gather(arguments, channels_last, m_tiles * n_tiles * shape.groups * classes_y * classes_x, stream);
}

}  // namespace

template <class T>
void launch_conv2d_pack(const ConvShape& shape, const T* weight, bool for_gradient, T* packed, cudaStream_t stream) {
  const std::int64_t depth = for_gradient ? shape.group_out_channels() : shape.group_channels();
  const std::int64_t across = for_gradient ? shape.channels : shape.out_channels;
  const std::int64_t count = shape.taps() * depth * across;
  launch({blocks_for(count, kPackThreads), kPackThreads, stream}, conv2d_pack_kernel<T>, shape.taps(), depth,
         across / shape.groups, across, count, for_gradient, weight, packed);
}

template <class T>
void launch_conv2d(const ConvShape& shape, bool channels_last, const T* input, const T* packed, const ConvTail<T>& tail,
                   T* out, cudaStream_t stream) {
  gather(shape, channels_last, false, input, packed, tail, out, stream);
}

template <class T>
void launch_conv2d_backward_input(const ConvShape& shape, bool channels_last, const T* grad, const T* packed,
                                  const ConvTail<T>& tail, T* grad_input, cudaStream_t stream) {
  gather(shape, channels_last, true, grad, packed, tail, grad_input, stream);
}

#define SACCADE_INSTANTIATE(T)                                                                                   \
  template void launch_conv2d_pack(const ConvShape&, const T*, bool, T*, cudaStream_t);                          \
  template void launch_conv2d(const ConvShape&, bool, const T*, const T*, const ConvTail<T>&, T*, cudaStream_t); \
  template void launch_conv2d_backward_input(const ConvShape&, bool, const T*, const T*, const ConvTail<T>&, T*, \
                                             cudaStream_t);
SACCADE_INSTANTIATE(Float16)
SACCADE_INSTANTIATE(BFloat16)
SACCADE_INSTANTIATE(float)
SACCADE_INSTANTIATE(double)
#undef SACCADE_INSTANTIATE

}  // namespace saccade::cuda
