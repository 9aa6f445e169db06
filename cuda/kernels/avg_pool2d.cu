// Average pooling. Small windows: a thread owns an output. Large ones: in planes a warp or a block owns it, lanes being
// cells; with the channels innermost a block owns 32 channels of it, its warps taking cells in turns. Partial sums meet
// in a fixed order. Backward: a thread owns a cell and adds up the windows over it. Nothing is added atomically. Floor
// for 32 x 2048 x 7 x 7 to 1 x 1: 13 MB, 4 us at 3.3 TB/s.
#include "cuda/common/scan.cuh"
#include "cuda/kernels/avg_pool2d.h"
#include "cuda/kernels/pool2d.cuh"
#include "math/half.h"

namespace saccade::cuda {
namespace {

constexpr int kPoolWarps = kPoolThreads / kWarp;
// Cells of a window from which on several threads share it; a whole block of them in planes.
constexpr std::int64_t kShared = 32, kBlocks = 1024;
// Cells that a thread adds up before the sum joins the others: one float32 after the other loses digits.
constexpr std::int64_t kRun = 64;

// value(k) for k = first, first + step, ... < count, in runs.
template <class A, class Value>
__device__ A sum_in_runs(std::int64_t first, std::int64_t count, std::int64_t step, const Value& value) {
  A sum = 0;
  for (std::int64_t k = first; k < count;) {
    const std::int64_t end = k + kRun * step < count ? k + kRun * step : count;
    A run = 0;
    for (; k < end; k += step) run += value(k);
    sum += run;
  }
  return sum;
}

// The cells of one window, in row order.
struct Window {
  WindowRange rows, columns;
  std::int64_t in_w;

  __device__ Window(const MeanShape& shape, std::int64_t row, std::int64_t column)
      : rows(cells_in(shape.y, row)), columns(cells_in(shape.x, column)), in_w(shape.x.window.in) {}
  __device__ std::int64_t cells() const { return (rows.end - rows.begin) * (columns.end - columns.begin); }
  __device__ std::int64_t cell(std::int64_t i) const {
    // Fewer than 2^31 cells: 32-bit division is several times as fast.
    const auto width = static_cast<unsigned>(columns.end - columns.begin);
    const unsigned row = static_cast<unsigned>(i) / width;
    return (rows.begin + row) * in_w + columns.begin + static_cast<unsigned>(i) - row * width;
  }
};

template <class A>
__device__ A divisor(const MeanShape& shape, std::int64_t row, std::int64_t column) {
  return static_cast<A>(cells_counted(shape.y, row)) * static_cast<A>(cells_counted(shape.x, column));
}

template <class T, bool kLast>
__global__ void __launch_bounds__(kPoolThreads)
    avg_pool2d_kernel(const T* input, MeanShape shape, std::int64_t channels, std::int64_t count, T* out) {
  const std::int64_t i = thread_index();
  if (i >= count) return;
  using A = decltype(to_float(T{}));
  const WindowAxis &y = shape.y.window, &x = shape.x.window;
  const Element at = split<kLast>(i, channels, y.out, x.out, y.in * x.in);
  const WindowRange rows = cells_in(shape.y, at.row), columns = cells_in(shape.x, at.column);
  A sum = 0;
  for (std::int64_t r = rows.begin; r < rows.end; ++r)
    for (std::int64_t c = columns.begin; c < columns.end; ++c)
      sum += to_float(input[at.base + (r * x.in + c) * at.stride]);
  out[i] = from_float<T>(sum / divisor<A>(shape, at.row, at.column));
}

// One output for kWarps warps.
template <class T, int kWarps>
__global__ void __launch_bounds__(kPoolThreads)
    avg_pool2d_planes_kernel(const T* input, MeanShape shape, std::int64_t count, T* out) {
  using A = decltype(to_float(T{}));
  constexpr int kOwners = kWarps * kWarp;
  const std::int64_t i = thread_index() / kOwners;
  if (i >= count) return;
  const WindowAxis &y = shape.y.window, &x = shape.x.window;
  const Element at = split<false>(i, 1, y.out, x.out, y.in * x.in);
  const Window window(shape, at.row, at.column);
  A sum = sum_in_runs<A>(threadIdx.x % kOwners, window.cells(), kOwners,
                         [&](std::int64_t k) { return to_float(input[at.base + window.cell(k)]); });
  for (int step = kWarp / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if constexpr (kWarps > 1) {
    SACCADE_SHARED(A[kWarps], sums);
    if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = sum;
    __syncthreads();
    sum = sums[0];
    for (int warp = 1; warp < kWarps; ++warp) sum += sums[warp];
  }
  if (threadIdx.x % kOwners == 0) out[i] = from_float<T>(sum / divisor<A>(shape, at.row, at.column));
}

template <class T>
__global__ void __launch_bounds__(kPoolThreads)
    avg_pool2d_channels_kernel(const T* input, MeanShape shape, std::int64_t channels, T* out) {
  using A = decltype(to_float(T{}));
  SACCADE_SHARED(A[kPoolWarps][kWarp], sums);
  const WindowAxis &y = shape.y.window, &x = shape.x.window;
  const std::int64_t groups = (channels + kWarp - 1) / kWarp, output = blockIdx.x / groups;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t channel = blockIdx.x % groups * kWarp + lane;
  const Element at = split<true>(output, 1, y.out, x.out, y.in * x.in);
  A sum = 0;
  if (channel < channels) {
    const Window window(shape, at.row, at.column);
    sum = sum_in_runs<A>(warp, window.cells(), kPoolWarps, [&](std::int64_t k) {
      return to_float(input[(at.base + window.cell(k)) * channels + channel]);
    });
  }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || channel >= channels) return;
  for (int other = 1; other < kPoolWarps; ++other) sum += sums[other][lane];
  out[output * channels + channel] = from_float<T>(sum / divisor<A>(shape, at.row, at.column));
}

template <class T, bool kLast>
__global__ void __launch_bounds__(kPoolThreads)
    avg_pool2d_backward_kernel(const T* grad, MeanShape shape, std::int64_t channels, std::int64_t count,
                               T* grad_input) {
  const std::int64_t i = thread_index();
  if (i >= count) return;
  using A = decltype(to_float(T{}));
  const WindowAxis &y = shape.y.window, &x = shape.x.window;
  const Element at = split<kLast>(i, channels, y.in, x.in, y.out * x.out);
  const WindowRange rows = windows_with(shape.y, at.row), columns = windows_with(shape.x, at.column);
  A sum = 0;
  for (std::int64_t p = rows.begin; p < rows.end; ++p)
    for (std::int64_t q = columns.begin; q < columns.end; ++q) {
      const A share = A{1} / divisor<A>(shape, p, q);
      sum = fma(to_float(grad[at.base + (p * x.out + q) * at.stride]), share, sum);
    }
  grad_input[i] = from_float<T>(sum);
}

}  // namespace

template <class T>
void launch_avg_pool2d(const T* input, const MeanShape& shape, std::int64_t images, std::int64_t channels,
                       bool channels_last, T* out, cudaStream_t stream) {
  const std::int64_t windows = images * shape.y.window.out * shape.x.window.out, count = windows * channels;
  const std::int64_t cells = shape.y.window.kernel * shape.x.window.kernel;
  if (cells < kShared) {
    launch({blocks_for(count, kPoolThreads), kPoolThreads, stream},
           channels_last ? avg_pool2d_kernel<T, true> : avg_pool2d_kernel<T, false>, input, shape, channels, count,
           out);
  } else if (channels_last) {
    launch({blocks_for(windows * ((channels + kWarp - 1) / kWarp), 1), kPoolThreads, stream},
           avg_pool2d_channels_kernel<T>, input, shape, channels, out);
  } else if (cells < kBlocks) {
    launch({blocks_for(count, kPoolWarps), kPoolThreads, stream}, avg_pool2d_planes_kernel<T, 1>, input, shape, count,
           out);
  } else {
    launch({blocks_for(count, 1), kPoolThreads, stream}, avg_pool2d_planes_kernel<T, kPoolWarps>, input, shape, count,
           out);
  }
}

template <class T>
void launch_avg_pool2d_backward(const T* grad, const MeanShape& shape, std::int64_t images, std::int64_t channels,
                                bool channels_last, T* grad_input, cudaStream_t stream) {
  const std::int64_t count = images * channels * shape.y.window.in * shape.x.window.in;
  launch({blocks_for(count, kPoolThreads), kPoolThreads, stream},
         channels_last ? avg_pool2d_backward_kernel<T, true> : avg_pool2d_backward_kernel<T, false>, grad, shape,
         channels, count, grad_input);
}

#define SACCADE_INSTANTIATE(T)                                                                                     \
  template void launch_avg_pool2d(const T*, const MeanShape&, std::int64_t, std::int64_t, bool, T*, cudaStream_t); \
  template void launch_avg_pool2d_backward(const T*, const MeanShape&, std::int64_t, std::int64_t, bool, T*,       \
                                           cudaStream_t);
SACCADE_INSTANTIATE(Float16)
SACCADE_INSTANTIATE(BFloat16)
SACCADE_INSTANTIATE(float)
SACCADE_INSTANTIATE(double)
#undef SACCADE_INSTANTIATE

}  // namespace saccade::cuda
