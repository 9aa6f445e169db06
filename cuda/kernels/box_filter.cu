// Mean filter: sums down the columns, then along the rows, each as on the CPU (csrc/kernels/box_filter.cpp) by the
// method of van Herk (1992) and Gil and Werman (1993) and in the same order, bit for bit.
//
// Columns: a thread owns a block of window-height outputs of one column, neighbours are adjacent. Rows of windows up to
// 16 columns: a thread per output, whose reads L1 serves. Wider ones: a thread per block, the lanes of a warp one below
// the other; lines of L1 are used up by the steps that follow. Floor: 2 reads of a pixel, 4 passes over its sum.
#include "cuda/common/launch.cuh"
#include "cuda/kernels/box_filter.h"
#include "math/border.h"
#include "math/box_mean.h"

namespace saccade::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kFew = 64;              // threads per block where a thread has long work
constexpr std::int64_t kDirect = 16;  // as on the CPU: beyond it the order of additions differs

struct Shape {
  std::int64_t images, height, width;
};

// The division in reflect_101 is for the border only.
__device__ std::int64_t mirrored(std::int64_t i, std::int64_t size) {
  return i >= 0 && i < size ? i : reflect_101(i, size);
}

template <class T>
__global__ void __launch_bounds__(kFew)
    box_columns_kernel(const T* image, Shape shape, std::int64_t rows, std::int64_t blocks, BoxTotal<T>* sums) {
  const std::int64_t index = thread_index(), x = index % shape.width, row = index / shape.width;
  if (row >= shape.images * blocks) return;
  const std::int64_t plane = row / blocks * shape.height * shape.width, top = row % blocks * rows;
  const std::int64_t count = min(rows, shape.height - top);
  const auto pixel = [&](std::int64_t e) {  // of the image extended upwards by rows / 2
    return static_cast<BoxTotal<T>>(image[plane + mirrored(e - rows / 2, shape.height) * shape.width + x]);
  };
  BoxTotal<T>* to = sums + plane + top * shape.width + x;
  BoxTotal<T> total = pixel(top + rows - 1);
  for (std::int64_t j = rows - 1;; --j) {
    if (j < count) to[j * shape.width] = total;
    if (j == 0) break;
    total += pixel(top + j - 1);
  }
  if (count == 1) return;
  total = pixel(top + rows);
  for (std::int64_t j = 1;; ++j) {
    to[j * shape.width] += total;
    if (j == count - 1) break;
    total += pixel(top + rows + j);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    box_rows_direct_kernel(const BoxTotal<T>* sums, Shape shape, std::int64_t columns, double area, double inverse,
                           T* out) {
  const std::int64_t index = thread_index(), x = index % shape.width, row = index / shape.width;
  if (row >= shape.images * shape.height) return;
  const BoxTotal<T>* from = sums + row * shape.width;
  const std::int64_t left = x - columns / 2;
  BoxTotal<T> total = from[mirrored(left, shape.width)];
  for (std::int64_t k = 1; k < columns; ++k) total += from[mirrored(left + k, shape.width)];
  out[index] = box_mean<T>(total, area, inverse);
}

template <class T>
__global__ void __launch_bounds__(kFew)
    box_rows_kernel(const BoxTotal<T>* sums, Shape shape, std::int64_t columns, std::int64_t blocks, double area,
                    double inverse, BoxTotal<T>* suffixes, T* out) {
  const std::int64_t height = shape.images * shape.height, index = thread_index(), row = index % height;
  if (index / height >= blocks) return;
  const std::int64_t begin = index / height * columns, count = min(columns, shape.width - begin);
  const BoxTotal<T>* from = sums + row * shape.width;
  BoxTotal<T>* suffix = suffixes + row * shape.width + begin;
  const auto sum = [&](std::int64_t e) { return from[mirrored(e - columns / 2, shape.width)]; };
  BoxTotal<T> total{};
  for (std::int64_t i = columns - 1; i >= 0; --i) {
    total += sum(begin + i);
    if (i < count) suffix[i] = total;
  }
  out += row * shape.width + begin;
  out[0] = box_mean<T>(total, area, inverse);
  total = 0;
  for (std::int64_t i = 1; i < count; ++i) {
    total += sum(begin + columns + i - 1);
    out[i] = box_mean<T>(suffix[i] + total, area, inverse);
  }
}

template <class T>
void launch_typed(const TensorView& image, std::int64_t rows, std::int64_t columns, void* column_sums, void* suffixes,
                  T* out, cudaStream_t stream) {
  using Total = BoxTotal<T>;
  const Shape shape = {image.numel() / (image.size(-2) * image.size(-1)), image.size(-2), image.size(-1)};
  const double area = static_cast<double>(rows * columns);
  Total* sums = static_cast<Total*>(column_sums);
  const std::int64_t row_blocks = (shape.height + rows - 1) / rows;
  launch({blocks_for(shape.images * row_blocks * shape.width, kFew), kFew, stream}, box_columns_kernel<T>,
         image.ptr<const T>(), shape, rows, row_blocks, sums);
  if (!box_filter_needs_suffixes(columns)) {
    launch({blocks_for(image.numel(), kThreads), kThreads, stream}, box_rows_direct_kernel<T>, sums, shape, columns,
           area, 1.0 / area, out);
    return;
  }
  const std::int64_t blocks = (shape.width + columns - 1) / columns;
  launch({blocks_for(shape.images * shape.height * blocks, kFew), kFew, stream}, box_rows_kernel<T>, sums, shape,
         columns, blocks, area, 1.0 / area, static_cast<Total*>(suffixes), out);
}

}  // namespace

std::int64_t box_filter_scratch_bytes(const TensorView& image) {
  return image.numel() *
         static_cast<std::int64_t>(image.dtype == DType::kUInt8 ? sizeof(std::uint32_t) : sizeof(double));
}

bool box_filter_needs_suffixes(std::int64_t columns) { return columns > kDirect; }

void launch_box_filter(const TensorView& image, std::int64_t rows, std::int64_t columns, void* column_sums,
                       void* suffixes, const TensorView& out, cudaStream_t stream) {
  if (image.numel() == 0) return;
  switch (image.dtype) {
    case DType::kUInt8:
      return launch_typed(image, rows, columns, column_sums, suffixes, out.ptr<std::uint8_t>(), stream);
    case DType::kFloat32: return launch_typed(image, rows, columns, column_sums, suffixes, out.ptr<float>(), stream);
    default: return launch_typed(image, rows, columns, column_sums, suffixes, out.ptr<double>(), stream);
  }
}

}  // namespace saccade::cuda
