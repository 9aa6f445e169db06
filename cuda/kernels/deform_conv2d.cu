// deform_conv2d and the gradient of its weight: products of tiles in shared memory, one factor of which is sampled on
// its way there. Where the samples of a row (of a step of the depth, for the weight) lie is worked out once for all
// channels that share their offsets. The depth is summed in order by one block: the same bits in every run.
#include <numeric>

#include "cuda/common/epilogue.cuh"
#include "cuda/kernels/deform_conv2d_tile.cuh"

namespace saccade::cuda {
namespace {

struct Tiles {
  std::int64_t m, n;
};
template <class A>
Tiles tiles_of(std::int64_t rows, std::int64_t columns) {
  using Tile = DeformTile<A>;
  return {(rows + Tile::kM - 1) / Tile::kM, (columns + Tile::kN - 1) / Tile::kN};
}

// A block: results of one image x output channels of one group. The depth: taps, in each the channels of the group.
template <class T>
__global__ void __launch_bounds__(kDeformThreads)
    deform_conv2d_kernel(DeformView<T> view, Tiles tiles, const T* packed, ChannelParameter bias, ImageLayout result,
                         T* out) {
  using A = typename DeformView<T>::A;
  using Tile = DeformTile<A>;
  SACCADE_SHARED(typename Tile::Storage, storage);
  SACCADE_SHARED(DeformSample<A>[Tile::kM], samples);
  const ConvShape& conv = view.shape.conv;
  const std::int64_t block = blockIdx.x, results = view.shape.results(), outs = conv.group_out_channels();
  const std::int64_t m0 = block % tiles.m * Tile::kM, n0 = block / tiles.m % tiles.n * Tile::kN;
  const std::int64_t rest = block / tiles.m / tiles.n, group = rest % conv.groups, image = rest / conv.groups;
  const std::int64_t depth = conv.group_channels(), begin = group * depth, shared = view.shape.offset_channels();
  const bool last = view.data.input_last;
  Tile tile;
  for (std::int64_t t = 0; t < conv.taps(); ++t) {
    for (std::int64_t c = begin; c < begin + depth;) {
      const std::int64_t g = c / shared, group_end = (g + 1) * shared;
      const std::int64_t end = group_end < begin + depth ? group_end : begin + depth;
      const int m = static_cast<int>(threadIdx.x);
      if (m < Tile::kM && m0 + m < results) samples[m] = deform_sample(view, image, g, t, m0 + m);
      __syncthreads();
      for (; c < end; c += Tile::kK) {
        tile.add(
            storage, last, last,
            [&](int row, int k) {
              return m0 + row < results && c + k < end ? deform_value(view, samples[row], c + k) : A(0);
            },
            [&](int k, int n) {
              const std::int64_t line = t * depth + c + k - begin;
              return n0 + n < outs && c + k < end
                         ? A(to_float(packed[line * conv.out_channels + group * outs + n0 + n]))
                         : A(0);
            });
      }
      c = end;
    }
  }
  tile.finish(last, [&](int m, int n, A sum) {
    if (m0 + m >= results || n0 + n >= outs) return;
    const std::int64_t k = group * outs + n0 + n;
    out[image * result.image + k * result.channel + (m0 + m) * result.pixel] =
        from_float<T>(sum + static_cast<A>(parameter_at<T, A>(bias, k, 0)));
  });
}

// A block: channels of one segment, which shares group and offsets, x output channels of the group, for one tap. The
// depth: the results of all images.
template <class T>
__global__ void __launch_bounds__(kDeformThreads)
    deform_conv2d_weight_kernel(DeformView<T> view, Tiles tiles, std::int64_t segment, ImageLayout result,
                                const T* grad, T* grad_weight) {
  using A = typename DeformView<T>::A;
  using Tile = DeformTile<A>;
  SACCADE_SHARED(typename Tile::Storage, storage);
  SACCADE_SHARED(DeformSample<A>[Tile::kK], samples);
  const ConvShape& conv = view.shape.conv;
  const std::int64_t block = blockIdx.x, results = view.shape.results(), outs = conv.group_out_channels();
  const std::int64_t m0 = block % tiles.m * Tile::kM, n0 = block / tiles.m % tiles.n * Tile::kN;
  const std::int64_t rest = block / tiles.m / tiles.n, t = rest % conv.taps(), first = rest / conv.taps() * segment;
  const std::int64_t depth = conv.group_channels(), group = first / depth, g = first / view.shape.offset_channels();
  Tile tile;
  for (std::int64_t image = 0; image < conv.images; ++image) {
    for (std::int64_t r = 0; r < results; r += Tile::kK) {
      const int step = static_cast<int>(threadIdx.x);
      if (step < Tile::kK && r + step < results) samples[step] = deform_sample(view, image, g, t, r + step);
      __syncthreads();
      tile.add(
          storage, true, !view.data.input_last,
          [&](int m, int k) {
            return m0 + m < segment && r + k < results ? deform_value(view, samples[k], first + m0 + m) : A(0);
          },
          [&](int k, int n) {
            const std::int64_t at = image * result.image + (group * outs + n0 + n) * result.channel;
            return n0 + n < outs && r + k < results ? A(to_float(grad[at + (r + k) * result.pixel])) : A(0);
          });
    }
  }
  tile.finish(true, [&](int m, int n, A sum) {
    if (m0 + m >= segment || n0 + n >= outs) return;
    const std::int64_t channel = first + m0 + m - group * depth;
    grad_weight[((group * outs + n0 + n) * depth + channel) * conv.taps() + t] = from_float<T>(sum);
  });
}

}  // namespace

template <class T>
void launch_deform_conv2d(const DeformShape& shape, const DeformData<T>& data, const T* packed,
                          const ChannelParameter& bias, T* out, cudaStream_t stream) {
  const ConvShape& conv = shape.conv;
  const Tiles tiles = tiles_of<typename DeformView<T>::A>(shape.results(), conv.group_out_channels());
  const ImageLayout result = image_layout(conv.out_channels, shape.results(), data.input_last);
  launch({blocks_for(tiles.m * tiles.n * conv.groups * conv.images, 1), kDeformThreads, stream},
         deform_conv2d_kernel<T>, DeformView<T>(shape, data), tiles, packed, bias, result, out);
}

template <class T>
void launch_deform_conv2d_backward_weight(const DeformShape& shape, const DeformData<T>& data, const T* grad,
                                          T* grad_weight, cudaStream_t stream) {
  const ConvShape& conv = shape.conv;
  if (conv.channels == 0) return;
  const std::int64_t segment = std::gcd(conv.group_channels(), shape.offset_channels());
  const Tiles tiles = tiles_of<typename DeformView<T>::A>(segment, conv.group_out_channels());
  const ImageLayout result = image_layout(conv.out_channels, shape.results(), data.input_last);
  launch({blocks_for(tiles.m * tiles.n * conv.taps() * (conv.channels / segment), 1), kDeformThreads, stream},
         deform_conv2d_weight_kernel<T>, DeformView<T>(shape, data), tiles, segment, result, grad, grad_weight);
}

#define SACCADE_INSTANTIATE(T)                                                                                        \
  template void launch_deform_conv2d(const DeformShape&, const DeformData<T>&, const T*, const ChannelParameter&, T*, \
                                     cudaStream_t);                                                                   \
  template void launch_deform_conv2d_backward_weight(const DeformShape&, const DeformData<T>&, const T*, T*,          \
                                                     cudaStream_t);
SACCADE_INSTANTIATE(Float16)
SACCADE_INSTANTIATE(BFloat16)
SACCADE_INSTANTIATE(float)
SACCADE_INSTANTIATE(double)
#undef SACCADE_INSTANTIATE

}  // namespace saccade::cuda
