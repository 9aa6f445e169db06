// Gradients of deform_conv2d's input, offsets and mask, for a block of channels: the gradients of the samples (a
// product of tiles), their products with the cells, and for each element of the input the sum over the samples that
// touch it. Those are found in lists, one for each corner above and left of samples, made by a stable sort: no atomics,
// the same bits in every run.
#include "cuda/kernels/deform_conv2d_tile.cuh"

namespace saccade::cuda {
namespace {

// A block: results x channels of one tap. The depth: the output channels of the group.
template <class T, class A>
__global__ void __launch_bounds__(kDeformThreads)
    deform_columns_kernel(DeformShape shape, DeformChannels block, ImageLayout result, std::int64_t m_tiles,
                          std::int64_t n_tiles, const T* grad, const T* packed, A* columns) {
  using Tile = DeformTile<A>;
  SACCADE_SHARED(typename Tile::Storage, storage);
  const ConvShape& conv = shape.conv;
  const std::int64_t number = blockIdx.x, results = shape.results(), outs = conv.group_out_channels();
  const std::int64_t m0 = number % m_tiles * Tile::kM, n0 = number / m_tiles % n_tiles * Tile::kN;
  const std::int64_t t = number / m_tiles / n_tiles, group = block.first / conv.group_channels();
  const T* first = grad + block.image * result.image + group * outs * result.channel;
  Tile tile;
  for (std::int64_t k0 = 0; k0 < outs; k0 += Tile::kK) {
    tile.add(
        storage, true, result.channel == 1,
        [&](int m, int k) {
          if (m0 + m >= results || k0 + k >= outs) return A(0);
          return A(to_float(first[(m0 + m) * result.pixel + (k0 + k) * result.channel]));
        },
        [&](int k, int n) {
          if (n0 + n >= block.count || k0 + k >= outs) return A(0);
          return A(to_float(packed[(t * outs + k0 + k) * conv.channels + block.first + n0 + n]));
        });
  }
  tile.finish(true, [&](int m, int n, A sum) {
    if (m0 + m < results && n0 + n < block.count) columns[(t * results + m0 + m) * block.count + n0 + n] = sum;
  });
}

// A thread per (offset group with channels in the block, tap, result).
template <class T, class A>
__global__ void __launch_bounds__(kDeformThreads)
    deform_differentiate_kernel(DeformView<T> view, DeformChannels block, std::int64_t first_group, std::int64_t count,
                                const A* columns, A* products, T* grad_offset, T* grad_mask) {
  const std::int64_t i = thread_index(), results = view.shape.results(), taps = view.shape.conv.taps();
  if (i >= count) return;
  const std::int64_t line = quotient(i, results), r = i - line * results, which = quotient(line, taps);
  const std::int64_t t = line - which * taps, g = first_group + which, own = view.shape.offset_channels();
  const std::int64_t block_end = block.first + block.count, group_end = (g + 1) * own;
  const std::int64_t begin = block.first > g * own ? block.first : g * own;
  const std::int64_t end = block_end < group_end ? block_end : group_end;
  const BilinearPoint<A> point = view.point(block.image, g, t, r);
  A* kept = products + ((g * taps + t) * results + r) * 4;
  A sums[4] = {};
  for (int k = 0; k < 4; ++k) {
    if (!has_corner(point, k)) continue;
    A sum = begin == g * own ? A(0) : kept[k];
    const T* cell = view.data.input + view.cell(block.image, point) + view.corner(k);
    for (std::int64_t c = begin; c < end; ++c)
      sum = std::fma(columns[(t * results + r) * block.count + c - block.first],
                     A(to_float(cell[c * view.input.channel])), sum);
    sums[k] = sum;
    kept[k] = sum;
  }
  if (end < group_end) return;
  const DeformGradient<A> gradient = deform_gradient(point, view.mask_of(block.image, g, t, r), sums);
  if (grad_offset) {
    const std::int64_t at = view.offset_at(block.image, g, t, r);
    grad_offset[at] = from_float<T>(gradient.y);
    grad_offset[at + view.offset.channel] = from_float<T>(gradient.x);
  }
  if (grad_mask) grad_mask[view.mask_at(block.image, g, t, r)] = from_float<T>(gradient.mask);
}

// A thread per sample of all images.
template <class T>
__global__ void __launch_bounds__(kDeformThreads)
    deform_corners_kernel(DeformView<T> view, std::int64_t none, std::int64_t count, std::int64_t* corners) {
  const std::int64_t i = thread_index(), results = view.shape.results(), taps = view.shape.conv.taps();
  if (i >= count) return;
  const std::int64_t line = quotient(i, results), image_group = quotient(line, taps);
  const std::int64_t image = quotient(image_group, view.shape.offset_groups);
  const std::int64_t g = image_group - image * view.shape.offset_groups;
  const auto point = view.point(image, g, line - image_group * taps, i - line * results);
  const std::int64_t h = view.shape.conv.y.in + 1, w = view.shape.conv.x.in + 1;
  corners[i] = point.corners == 0 ? none : (g * h + point.y + 1) * w + point.x + 1;
}

// begins[corner] = the first sample in order whose corner is not below it.
__global__ void __launch_bounds__(kDeformThreads)
    deform_begins_kernel(const std::int64_t* sorted, std::int64_t samples, std::int64_t count, std::int64_t* begins) {
  const std::int64_t corner = thread_index();
  if (corner >= count) return;
  std::int64_t low = 0, high = samples;
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (sorted[middle] < corner) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  begins[corner] = low;
}

// A thread per cell and channel of the block, neighbours for neighbouring channels.
template <class T, class A>
__global__ void __launch_bounds__(kDeformThreads)
    deform_gather_kernel(DeformView<T> view, DeformChannels block, const A* columns, const std::int64_t* order,
                         const std::int64_t* begins, T* grad_input) {
  const std::int64_t i = thread_index(), results = view.shape.results(), taps = view.shape.conv.taps();
  const std::int64_t cell = quotient(i, block.count), c = i - cell * block.count;
  if (cell >= view.shape.cells()) return;
  const std::int64_t h = view.shape.conv.y.in, w = view.shape.conv.x.in;
  const std::int64_t y = quotient(cell, w), x = cell - y * w, g = (block.first + c) / view.shape.offset_channels();
  A sum = 0;
  for (int k = 0; k < 4; ++k) {
    // The cell is corner k of samples whose corner 0 lies so far above and left.
    const std::int64_t corner = (g * (h + 1) + y + 1 - k / 2) * (w + 1) + x + 1 - k % 2;
    for (std::int64_t e = begins[corner]; e < begins[corner + 1]; ++e) {
      const std::int64_t sample = order[e] - g * taps * results, t = quotient(sample, results),
                         r = sample - t * results;
      const BilinearPoint<A> point = view.point(block.image, g, t, r);
      // A weight of zero keeps a gradient that is not finite to the cells that it belongs to.
      if (corner_weight(point, k) == A(0)) continue;
      sum = std::fma(view.mask_of(block.image, g, t, r) * corner_weight(point, k), columns[sample * block.count + c],
                     sum);
    }
  }
  grad_input[block.image * view.input.image + (block.first + c) * view.input.channel + cell * view.input.pixel] =
      from_float<T>(sum);
}

}  // namespace

template <class T, class A>
void launch_deform_columns(const DeformShape& shape, const DeformChannels& block, bool grad_last, const T* grad,
                           const T* packed, A* columns, cudaStream_t stream) {
  using Tile = DeformTile<A>;
  const std::int64_t m_tiles = (shape.results() + Tile::kM - 1) / Tile::kM;
  const std::int64_t n_tiles = (block.count + Tile::kN - 1) / Tile::kN;
  launch({blocks_for(m_tiles * n_tiles * shape.conv.taps(), 1), kDeformThreads, stream}, deform_columns_kernel<T, A>,
         shape, block, image_layout(shape.conv.out_channels, shape.results(), grad_last), m_tiles, n_tiles, grad,
         packed, columns);
}

template <class T, class A>
void launch_deform_differentiate(const DeformShape& shape, const DeformData<T>& data, const DeformChannels& block,
                                 const A* columns, A* products, T* grad_offset, T* grad_mask, cudaStream_t stream) {
  const std::int64_t own = shape.offset_channels(), first = block.first / own;
  const std::int64_t groups = (block.first + block.count - 1) / own - first + 1;
  const std::int64_t count = groups * shape.conv.taps() * shape.results();
  launch({blocks_for(count, kDeformThreads), kDeformThreads, stream}, deform_differentiate_kernel<T, A>,
         DeformView<T>(shape, data), block, first, count, columns, products, grad_offset, grad_mask);
}

template <class T>
void launch_deform_corners(const DeformShape& shape, const DeformData<T>& data, std::int64_t* corners,
                           cudaStream_t stream) {
  const std::int64_t count = shape.conv.images * shape.offset_groups * shape.conv.taps() * shape.results();
  launch({blocks_for(count, kDeformThreads), kDeformThreads, stream}, deform_corners_kernel<T>,
         DeformView<T>(shape, data), deform_corners(shape), count, corners);
}

void launch_deform_begins(const DeformShape& shape, const std::int64_t* sorted, std::int64_t* begins,
                          cudaStream_t stream) {
  const std::int64_t samples = shape.offset_groups * shape.conv.taps() * shape.results();
  const std::int64_t count = deform_corners(shape) + 1;
  launch({blocks_for(count, kDeformThreads), kDeformThreads, stream}, deform_begins_kernel, sorted, samples, count,
         begins);
}

template <class T, class A>
void launch_deform_gather(const DeformShape& shape, const DeformData<T>& data, const DeformChannels& block,
                          const A* columns, const std::int64_t* order, const std::int64_t* begins, T* grad_input,
                          cudaStream_t stream) {
  launch({blocks_for(shape.cells() * block.count, kDeformThreads), kDeformThreads, stream}, deform_gather_kernel<T, A>,
         DeformView<T>(shape, data), block, columns, order, begins, grad_input);
}

#define SACCADE_INSTANTIATE(T, A)                                                                                      \
  template void launch_deform_columns(const DeformShape&, const DeformChannels&, bool, const T*, const T*, A*,         \
                                      cudaStream_t);                                                                   \
  template void launch_deform_differentiate(const DeformShape&, const DeformData<T>&, const DeformChannels&, const A*, \
                                            A*, T*, T*, cudaStream_t);                                                 \
  template void launch_deform_corners(const DeformShape&, const DeformData<T>&, std::int64_t*, cudaStream_t);          \
  template void launch_deform_gather(const DeformShape&, const DeformData<T>&, const DeformChannels&, const A*,        \
                                     const std::int64_t*, const std::int64_t*, T*, cudaStream_t);
SACCADE_INSTANTIATE(Float16, float)
SACCADE_INSTANTIATE(BFloat16, float)
SACCADE_INSTANTIATE(float, float)
SACCADE_INSTANTIATE(double, double)
#undef SACCADE_INSTANTIATE

}  // namespace saccade::cuda
