// Integral images: a pass along the rows, which writes the outputs, and one down the columns, in place.
//
// uint8: a warp owns a row and scans 128 pixels at a time; sums of integers may be taken in any order. Other types: a
// thread owns a row, since floats (and squares of int32) are added from left to right one by one, as the CPU does it,
// bit for bit. Columns: a thread owns one, 32 rows of which it has in flight. Floor: 1 + 3 x 4 bytes a uint8 pixel.
// Tilted: T(Y, X) = T(Y - 1, X) + the two diagonals that end in the pixel above (csrc/kernels/integral_image.cpp): one
// thread per diagonal, all threads in the same row at the same time, so that they touch neighbouring pixels.
#include <cstdint>
#include <type_traits>

#include "cuda/common/launch.cuh"
#include "cuda/common/scan.cuh"
#include "cuda/kernels/integral_image.h"

namespace saccade::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kFew = 64;  // threads per block where a thread has long work: more blocks than multiprocessors

// `planes` images of height x width pixels one after another; outputs have one row and one column more.
struct Planes {
  std::int64_t count, height, width;
  __host__ __device__ std::int64_t columns() const { return width + 1; }
  // Where what belongs to row y of the image begins in an output: in the column before its first pixel.
  __device__ std::int64_t row_begin(std::int64_t plane, std::int64_t y) const {
    return (plane * (height + 1) + y + 1) * columns();
  }
};

template <class T, class S>
__global__ void __launch_bounds__(kFew) integral_rows_kernel(const T* image, Planes planes, S* sum, double* square) {
  const std::int64_t row = thread_index();
  if (row >= planes.count * planes.height) return;
  const std::int64_t begin = planes.row_begin(row / planes.height, row % planes.height);
  image += row * planes.width;
  S total = 0;
  double squares = 0;
  sum[begin] = 0;
  if (square) square[begin] = 0;
  for (std::int64_t x = 0; x < planes.width; ++x) {
    const T pixel = image[x];
    total += static_cast<S>(pixel);
    sum[begin + 1 + x] = total;
    if (square) {
      const double value = static_cast<double>(pixel);
      squares += value * value;
      square[begin + 1 + x] = squares;
    }
  }
}

template <bool kSquares>
__global__ void __launch_bounds__(kThreads)
    integral_rows_u8_kernel(const std::uint8_t* image, Planes planes, std::uint32_t* sum, double* square) {
  constexpr int kPixels = 4;  // per lane and step
  const std::int64_t row = thread_index() / kWarp;
  if (row >= planes.count * planes.height) return;  // the whole warp
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t begin = planes.row_begin(row / planes.height, row % planes.height);
  image += row * planes.width;
  if (lane == 0) {
    sum[begin] = 0;
    if constexpr (kSquares) square[begin] = 0;
  }
  unsigned total = 0;
  unsigned long long squares = 0;
  for (std::int64_t first = 0; first < planes.width; first += kWarp * kPixels) {
    const std::int64_t x = first + lane * kPixels;
    unsigned values[kPixels], here = 0, squares_here = 0;
    for (int i = 0; i < kPixels; ++i) {
      values[i] = x + i < planes.width ? image[x + i] : 0u;
      here += values[i];
      squares_here += values[i] * values[i];
    }
    const unsigned scanned = warp_scan(here, lane);
    unsigned running = total + scanned - here;
    total += __shfl_sync(0xffffffffu, scanned, kWarp - 1);
    for (int i = 0; i < kPixels && x + i < planes.width; ++i) sum[begin + 1 + x + i] = running += values[i];
    if constexpr (kSquares) {
      const unsigned squares_scanned = warp_scan(squares_here, lane);
      unsigned long long running_squares = squares + squares_scanned - squares_here;
      squares += __shfl_sync(0xffffffffu, squares_scanned, kWarp - 1);
      for (int i = 0; i < kPixels && x + i < planes.width; ++i) {
        running_squares += values[i] * values[i];
        square[begin + 1 + x + i] = static_cast<double>(running_squares);
      }
    }
  }
}

// Adds to each row the one above it; row 0 becomes zero.
template <class S>
__global__ void __launch_bounds__(kFew) integral_columns_kernel(Planes planes, S* sums) {
  constexpr int kAhead = 32;
  const std::int64_t columns = planes.columns(), index = thread_index();
  if (index >= planes.count * columns) return;
  S* p = sums + index / columns * (planes.height + 1) * columns + index % columns;
  *p = 0;
  S total = 0;
  for (std::int64_t y = 1; y <= planes.height; y += kAhead) {
    S loaded[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) loaded[i] = y + i <= planes.height ? p[(y + i) * columns] : S{};
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      total += loaded[i];
      if (y + i <= planes.height) p[(y + i) * columns] = total;
    }
  }
}

// Stores the sums along the diagonals x - y = const, down to the right, each with its last pixel.
template <class T, class S>
__global__ void __launch_bounds__(kFew) tilted_right_kernel(const T* image, Planes planes, S* tilted) {
  const std::int64_t diagonals = planes.height + planes.width - 1, index = thread_index();
  if (index >= planes.count * diagonals) return;
  const std::int64_t plane = index / diagonals, difference = index % diagonals - (planes.height - 1);
  image += plane * planes.height * planes.width;
  S total = 0;
  for (std::int64_t y = 0; y < planes.height; ++y) {
    const std::int64_t x = y + difference;
    if (x < 0 || x >= planes.width) continue;
    total += static_cast<S>(image[y * planes.width + x]);
    tilted[planes.row_begin(plane, y) + 1 + x] = total;
  }
}

// Adds the sums along the diagonals x + y = const, down to the left, each without its last pixel. Such a diagonal
// leaves the image through column 0 of the output, where there is nothing else.
template <class T, class S>
__global__ void __launch_bounds__(kFew) tilted_left_kernel(const T* image, Planes planes, S* tilted) {
  const std::int64_t diagonals = planes.height + planes.width, index = thread_index();
  if (index >= planes.count * diagonals) return;
  const std::int64_t plane = index / diagonals, sum = index % diagonals - 1;
  image += plane * planes.height * planes.width;
  S total = 0;
  for (std::int64_t y = 0; y < planes.height; ++y) {
    const std::int64_t x = sum - y;
    if (x < -1 || x >= planes.width) continue;
    S& to = tilted[planes.row_begin(plane, y) + 1 + x];
    if (x < 0) {
      to = total;
    } else {
      to += total;
      total += static_cast<S>(image[y * planes.width + x]);
    }
  }
}

template <class T, class S>
void launch_typed(const TensorView& image, Planes planes, S* sum, double* square, S* tilted, cudaStream_t stream) {
  const T* pixels = image.ptr<const T>();
  const std::int64_t rows = planes.count * planes.height, columns = planes.count * planes.columns();
  if constexpr (std::is_same_v<T, std::uint8_t>) {
    launch({blocks_for(rows, kThreads / kWarp), kThreads, stream},
           square ? integral_rows_u8_kernel<true> : integral_rows_u8_kernel<false>, pixels, planes, sum, square);
  } else {
    launch({blocks_for(rows, kFew), kFew, stream}, integral_rows_kernel<T, S>, pixels, planes, sum, square);
  }
  const LaunchShape by_column = {blocks_for(columns, kFew), kFew, stream};
  launch(by_column, integral_columns_kernel<S>, planes, sum);
  if (square) launch(by_column, integral_columns_kernel<double>, planes, square);
  if (!tilted) return;
  const std::int64_t diagonals = planes.height + planes.width;
  launch({blocks_for(planes.count * (diagonals - 1), kFew), kFew, stream}, tilted_right_kernel<T, S>, pixels, planes,
         tilted);
  launch({blocks_for(planes.count * diagonals, kFew), kFew, stream}, tilted_left_kernel<T, S>, pixels, planes, tilted);
  launch(by_column, integral_columns_kernel<S>, planes, tilted);
}

}  // namespace

void launch_integral_image(const TensorView& image, const TensorView& sum, const TensorView& square,
                           const TensorView& tilted, cudaStream_t stream) {
  Planes planes = {1, image.size(-2), image.size(-1)};
  for (int d = 0; d < image.ndim - 2; ++d) planes.count *= image.sizes[d];
  if (planes.count == 0) return;
  if (planes.height == 0 || planes.width == 0) {
    for (const TensorView* out : {&sum, &square, &tilted}) {
      const std::size_t bytes = static_cast<std::size_t>(out->numel()) * dtype_size(out->dtype);
      if (out->dtype != DType::kUnsupported) check(cudaMemsetAsync(out->data, 0, bytes, stream), "integral_image");
    }
    return;
  }
  // Integers wrap around, which unsigned ones may.
  const auto run = [&](auto pixel, auto sums) {
    using S = decltype(sums);
    launch_typed<decltype(pixel)>(image, planes, sum.ptr<S>(), square.ptr<double>(), tilted.ptr<S>(), stream);
  };
  switch (image.dtype) {
    case DType::kInt32: return run(std::int32_t{}, std::uint64_t{});
    case DType::kFloat32: return run(float{}, double{});
    case DType::kFloat64: return run(double{}, double{});
    default: return run(std::uint8_t{}, std::uint32_t{});
  }
}

}  // namespace saccade::cuda
