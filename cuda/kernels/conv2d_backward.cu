// Gradients of conv2d's weight and bias: sums over all pixels of the result, in chunks that the shape alone decides
// (an implicit matrix product, conv2d_gemm.cuh, or channel by channel where groups have few channels), which a second
// kernel adds in order. No atomics: the same bits in every run.
#include <algorithm>

#include "cuda/kernels/batch_norm_chunk.cuh"
#include "cuda/kernels/conv2d_tensor_core.cuh"

namespace saccade::cuda {
namespace {

constexpr int kThreads = 256;

// partials[chunk][e][k]: the sum over a chunk's pixels of grad[k] * input at entry e = (tap, channel of the group), or
// of grad[k] alone where input is null. Blocks of batch_norm_chunk.cuh; the entries are shared out over blockIdx.y.
template <class T, class A, bool kRows>
__global__ void __launch_bounds__(kNormThreads)
    conv2d_chunk_sums_kernel(ConvShape shape, NormShape norm, NormChunks chunks, ImageLayout in, std::int64_t entries,
                             const T* grad, const T* input, A* partials) {
  const ChunkWalk<kRows> walk(norm, chunks);
  const std::int64_t depth = shape.group_channels(), pixels = norm.inner;
  for (std::int64_t e = blockIdx.y; e < entries; e += gridDim.y) {
    const std::int64_t tap = input ? quotient(e, depth) : 0, channel = e - tap * depth;
    const std::int64_t i = quotient(tap, shape.x.kernel), j = tap - i * shape.x.kernel;
    const std::int64_t first = (quotient(walk.channel, shape.group_out_channels()) * depth + channel) * in.channel;
    A sum{};
    walk.each(walk.count, [&](std::int64_t at) {
      if (!input) {
        sum += to_float(grad[at]);
        return;
      }
      const std::int64_t outer = quotient(at, kRows ? norm.channels : pixels);  // pixel of all, or plane
      const std::int64_t image = quotient(outer, kRows ? pixels : norm.channels);
      const std::int64_t pixel = kRows ? outer - image * pixels : at - outer * pixels;
      const std::int64_t p = quotient(pixel, shape.x.out), q = pixel - p * shape.x.out;
      const std::int64_t y = window_start(shape.y, p) + i * shape.y.dilation;
      const std::int64_t x = window_start(shape.x, q) + j * shape.x.dilation;
      if (y < 0 || y >= shape.y.in || x < 0 || x >= shape.x.in) return;
      const A value = to_float(input[image * in.image + first + (y * shape.x.in + x) * in.pixel]);
      sum = std::fma(static_cast<A>(to_float(grad[at])), value, sum);
    });
    sum = channel_sum<kRows>(sum);
    if (walk.writes()) partials[(walk.chunk * entries + e) * norm.channels + walk.channel] = sum;
  }
}

// A thread per element of (taps, depth, out_channels): the sum of its chunks, to (out_channels, depth, taps).
template <class T, class A>
__global__ void __launch_bounds__(kThreads)
    conv2d_add_chunks_kernel(std::int64_t chunks, std::int64_t taps, std::int64_t depth, std::int64_t out_channels,
                             const A* partials, T* out) {
  const std::int64_t i = thread_index(), count = taps * depth * out_channels;
  if (i >= count) return;
  A sum{};
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) sum += partials[chunk * count + i];
  const std::int64_t e = quotient(i, out_channels), k = i - e * out_channels, tap = quotient(e, depth);
  out[(k * depth + e - tap * depth) * taps + tap] = from_float<T>(sum);
}

NormShape norm_of_result(const ConvShape& shape, bool channels_last) {
  const std::int64_t pixels = shape.y.out * shape.x.out;
  return {shape.images, shape.out_channels, pixels, shape.images * pixels, channels_last};
}

template <class T, class A>
void launch_chunk_sums(const ConvShape& shape, bool channels_last, std::int64_t entries, const T* grad, const T* input,
                       A* partials, cudaStream_t stream) {
  const NormShape norm = norm_of_result(shape, channels_last);
  const NormChunks chunks = norm_chunks(norm);
  const ImageLayout in = image_layout(shape.channels, shape.y.in * shape.x.in, channels_last);
  const dim3 grid(norm_blocks(norm, chunks), static_cast<unsigned>(std::min<std::int64_t>(entries, 65535)));
  const auto kernel = channels_last ? conv2d_chunk_sums_kernel<T, A, true> : conv2d_chunk_sums_kernel<T, A, false>;
  launch({grid, kNormThreads, stream}, kernel, shape, norm, chunks, in, entries, grad, input, partials);
}

template <class T>
void launch_products(const WeightArguments<T>& arguments, bool channels_last, std::int64_t blocks,
                     cudaStream_t stream) {
  constexpr int kPack = 16 / sizeof(T);
  constexpr bool kHalf = sizeof(T) == 2;
  if (!channels_last) {
    if constexpr (kHalf) {
      launch_gemm<TensorCoreMath<T, true, true>, 1, false>(arguments, blocks, stream);
    } else {
      launch_gemm<CoreMath<T, true, true>, 1, false>(arguments, blocks, stream);
    }
    return;
  }
  const bool packs =
      made_of_packs<T>(16, arguments.depth, arguments.image.data) && made_of_packs<T>(16, arguments.width, arguments.b);
  if (!packs) {
    launch_gemm<CoreMath<T, false, true>, 1, true>(arguments, blocks, stream);
  } else if constexpr (kHalf) {
    launch_gemm<TensorCoreMath<T, false, true>, kPack, true>(arguments, blocks, stream);
  } else {
    launch_gemm<CoreMath<T, false, true>, kPack, true>(arguments, blocks, stream);
  }
}

struct Tiles {
  std::int64_t m, n;
};
Tiles weight_tiles(const ConvShape& shape) {
  using Math = CoreMath<float, true, true>;  // all have the same kM and kN
  return {(shape.taps() * shape.group_channels() + Math::kM - 1) / Math::kM,
          (shape.group_out_channels() + Math::kN - 1) / Math::kN};
}

}  // namespace

NormChunks conv2d_bias_chunks(const ConvShape& shape, bool channels_last) {
  return norm_chunks(norm_of_result(shape, channels_last));
}

NormChunks conv2d_weight_chunks(const ConvShape& shape, bool channels_last) {
  if (is_direct(shape)) return norm_chunks(norm_of_result(shape, channels_last));
  // About 512 blocks, as many as fill the device twice, with at least 256 pixels each.
  const Tiles tiles = weight_tiles(shape);
  const std::int64_t pixels = shape.images * shape.y.out * shape.x.out, blocks = tiles.m * tiles.n * shape.groups;
  const std::int64_t wanted = (512 + blocks - 1) / blocks;
  const std::int64_t step = std::max<std::int64_t>(256, (pixels + wanted - 1) / wanted);
  return {(pixels + step - 1) / step, step};
}

template <class T, class A>
void launch_conv2d_backward_weight(const ConvShape& shape, bool channels_last, const T* grad, const T* input,
                                   A* partials, T* grad_weight, cudaStream_t stream) {
  const std::int64_t depth = shape.group_channels(), entries = shape.taps() * depth;
  const NormChunks chunks = conv2d_weight_chunks(shape, channels_last);
  if (entries == 0) return;
  if (is_direct(shape)) {
    launch_chunk_sums(shape, channels_last, entries, grad, input, partials, stream);
  } else {
    const ImageLayout in = image_layout(shape.channels, shape.y.in * shape.x.in, channels_last);
    const ImageLayout result = image_layout(shape.out_channels, shape.y.out * shape.x.out, channels_last);
    const Tiles tiles = weight_tiles(shape);
    const WeightArguments<T> arguments = {{input, shape.y.in, shape.x.in, in.pixel},
                                          grad,
                                          partials,
                                          shape,
                                          depth,
                                          shape.group_out_channels(),
                                          in,
                                          result,
                                          chunks,
                                          tiles.m,
                                          tiles.n};
    launch_products(arguments, channels_last, tiles.m * tiles.n * shape.groups * chunks.chunks, stream);
  }
  launch({blocks_for(entries * shape.out_channels, kThreads), kThreads, stream}, conv2d_add_chunks_kernel<T, A>,
         chunks.chunks, shape.taps(), depth, shape.out_channels, partials, grad_weight);
}

template <class T, class A>
void launch_conv2d_backward_bias(const ConvShape& shape, bool channels_last, const T* grad, A* partials, T* grad_bias,
                                 cudaStream_t stream) {
  launch_chunk_sums<T, A>(shape, channels_last, 1, grad, nullptr, partials, stream);
  launch({blocks_for(shape.out_channels, kThreads), kThreads, stream}, conv2d_add_chunks_kernel<T, A>,
         conv2d_bias_chunks(shape, channels_last).chunks, 1, 1, shape.out_channels, partials, grad_bias);
}

#define SACCADE_INSTANTIATE(T, A)                                                                                \
  template void launch_conv2d_backward_weight(const ConvShape&, bool, const T*, const T*, A*, T*, cudaStream_t); \
  template void launch_conv2d_backward_bias(const ConvShape&, bool, const T*, A*, T*, cudaStream_t);
SACCADE_INSTANTIATE(Float16, float)
SACCADE_INSTANTIATE(BFloat16, float)
SACCADE_INSTANTIATE(float, float)
SACCADE_INSTANTIATE(double, double)
#undef SACCADE_INSTANTIATE

}  // namespace saccade::cuda
