// Gradients, cells and blocks as on the CPU (csrc/kernels/hog.cpp, csrc/ops/hog.cpp): the same bins, and cells added up
// pixel after pixel in the same order.
//
// Histograms: a block owns adjacent cells of a row of them, as many as give each thread a cell's bin. Its pixels pass
// through shared memory, 1,792 at a time: threads first compute what each pixel votes for, neighbours being adjacent,
// then each thread adds up the votes for its bin of its cell. No atomics: a bin has one owner, and a fixed order.
// Blocks: a warp each; the lanes read every value once per pass, from L2, as nine blocks share a cell.
//
// Floor at 1920 x 1080 uint8, 9 bins: 2 MB read, 20 MB written, 5 us at 4 TB/s; about 70 operations in double per
// pixel, 10 us. Their angle would be as much again: bins are found without it, and doubtful pixels are rare.
#include <algorithm>
#include <cmath>

#include "cuda/common/launch.cuh"
#include "cuda/common/scan.cuh"
#include "cuda/kernels/hog.h"

namespace saccade::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPixels = 7 * kThreads;  // 28 cells of 8 x 8, which have 252 bins
// Blocks on a multiprocessor: 80 registers, of which nvcc 13 would take 128 for the doubtful pixels' arc tangent; at
// most nine words are spilled, with 64 registers 30.
constexpr int kResident = 3;

struct Shape {
  std::int64_t channels, height, width;  // of an image
  std::int64_t rows, columns;            // of cells
  std::int64_t cell_rows, cell_columns;  // pixels
  std::int64_t group, groups;            // cells that a block owns; blocks per row of cells
  std::int64_t tile_rows, tile_columns;  // pixels in shared memory, at most
  int bins;
};

// Of the bins' lower edges, from the second on: cosines, then sines. Where their last bit matters the pixel is
// doubtful.
__global__ void __launch_bounds__(kThreads) hog_edges_kernel(int bins, double* edges) {
  constexpr double kPi = 3.14159265358979323846;
  const std::int64_t k = thread_index() + 1;
  if (k >= bins) return;
  const double edge = kPi * static_cast<double>(k) / static_cast<double>(bins);
  edges[k - 1] = std::cos(edge);
  edges[bins - 1 + k - 1] = std::sin(edge);
}

// As the reference compares channels: in the image's own type.
template <class T>
__device__ double plain_length(double dx, double dy) {
  const double length = std::sqrt(dx * dx + dy * dy);
  return sizeof(T) == 4 ? static_cast<double>(static_cast<float>(length)) : length;
}

// The pixel's vote, by the signs of cross products unless rounding could decide one (csrc/kernels/hog.cpp).
template <class T>
__device__ HogVote vote_of(const HogPlanes<T>& image, std::int64_t y, std::int64_t x, int bins, const double* edges) {
  const HogGradient<T> first = hog_gradient(image, 0, y, x);
  double dx = static_cast<double>(first.dx), dy = static_cast<double>(first.dy);
  bool unsure = false;
  if (image.channels > 1) {
    double longest = plain_length<T>(dx, dy);
    for (std::int64_t c = 1; c < image.channels; ++c) {
      const HogGradient<T> other = hog_gradient(image, c, y, x);
      const double other_dx = static_cast<double>(other.dx), other_dy = static_cast<double>(other.dy);
      const double length = plain_length<T>(other_dx, other_dy);
      if (sizeof(T) > 1 && !(std::fabs(length - longest) > longest * 1e-15) && (other_dx != dx || other_dy != dy) &&
          length != 0)
        unsure = true;
      if (length > longest) dx = other_dx, dy = other_dy, longest = length;
    }
  }
  const double length = std::sqrt(dx * dx + dy * dy), tolerance = length * 1e-14;
  if (dy < 0 || (dy == 0 && dx < 0)) dx = -dx, dy = -dy;
  if (dy != 0 && !(dy > tolerance)) unsure = true;
  int bin = 0;
  for (int k = 0; k + 1 < bins; ++k) {
    const double cross = dy * edges[k] - dx * edges[bins - 1 + k];
    if (cross >= 0) ++bin;
    if (!(std::fabs(cross) > tolerance)) unsure = true;
  }
  if (length == 0) unsure = false;  // nothing to vote with
  if (!(length < 1e150) || (length < 1e-140 && !(dx == 0 && dy == 0))) unsure = true;
  return unsure ? hog_exact_vote(image, y, x, bins) : HogVote{length, bin};
}

// What the pixels of a tile add to one bin of a cell, whose columns of the tile are [from, end).
__device__ float add_tile(const double* magnitudes, const std::int32_t* votes, int rows, int columns, int from, int end,
                          std::int32_t bin, float sum) {
  for (int y = 0; y < rows; ++y)
    for (int i = y * columns + from; i < y * columns + end; ++i)
      if (votes[i] == bin || votes[i] == kHogAllBins) sum = hog_add(sum, magnitudes[i]);
  return sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads, kResident)
    hog_histogram_kernel(const T* images, Shape shape, const double* edges, double* histogram) {
  SACCADE_SHARED(double[kPixels], magnitudes);
  SACCADE_SHARED(std::int32_t[kPixels], votes);
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t row = blockIdx.x / shape.groups;  // of cells, over all images
  const std::int64_t first = blockIdx.x % shape.groups * shape.group, cells = min(shape.group, shape.columns - first);
  const HogPlanes<T> image = {images + row / shape.rows * shape.channels * shape.height * shape.width, shape.channels,
                              shape.height, shape.width};
  const std::int64_t top = row % shape.rows * shape.cell_rows, left = first * shape.cell_columns;
  const std::int64_t width = cells * shape.cell_columns;
  double* sums = histogram + (row * shape.columns + first) * shape.bins;  // floats, until the last tile
  const float area = static_cast<float>(shape.cell_rows * shape.cell_columns);
  for (std::int64_t y0 = 0; y0 < shape.cell_rows; y0 += shape.tile_rows)
    for (std::int64_t x0 = 0; x0 < width; x0 += shape.tile_columns) {
      const int rows = static_cast<int>(min(shape.tile_rows, shape.cell_rows - y0));
      const int columns = static_cast<int>(min(shape.tile_columns, width - x0));
      const bool begin = y0 == 0 && x0 == 0, end = y0 + rows == shape.cell_rows && x0 + columns == width;
      __syncthreads();  // the tile before has been added
      for (int p = thread; p < rows * columns; p += kThreads) {
        const HogVote vote = vote_of(image, top + y0 + p / columns, left + x0 + p % columns, shape.bins, edges);
        magnitudes[p] = vote.magnitude;
        votes[p] = vote.bin;
      }
      __syncthreads();
      for (std::int64_t v = thread; v < cells * shape.bins; v += kThreads) {
        const std::int64_t cell = v / shape.bins * shape.cell_columns - x0;  // its first column, of the tile's
        const int from = static_cast<int>(max(cell, std::int64_t{0}));
        const int to = static_cast<int>(min(cell + shape.cell_columns, static_cast<std::int64_t>(columns)));
        const auto bin = static_cast<std::int32_t>(v % shape.bins);
        const float sum =
            add_tile(magnitudes, votes, rows, columns, from, to, bin, begin ? 0.f : static_cast<float>(sums[v]));
        sums[v] = static_cast<double>(end ? sum / area : sum);
      }
    }
}

struct Blocks {
  std::int64_t count, down, across;  // of all images; of one
  std::int64_t rows, columns;        // of cells of an image
  std::int64_t bins, run, values;    // of a cell, of a row of a block, of a block
};

__device__ double warp_sum(double value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

// Calls function(i, value) for every 32nd value of a block.
template <class Function>
__device__ void for_values(const double* corner, const Blocks& blocks, int lane, const Function& function) {
  std::int64_t row = 0, in_run = lane;
  for (std::int64_t i = lane; i < blocks.values; i += kWarp, in_run += kWarp) {
    for (; in_run >= blocks.run; in_run -= blocks.run) ++row;
    function(i, corner[row * blocks.columns * blocks.bins + in_run]);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    hog_blocks_kernel(const double* histogram, Blocks blocks, HogNorm norm, T* out) {
  const std::int64_t index = thread_index() / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (index >= blocks.count) return;
  const std::int64_t x = index % blocks.across, y = index / blocks.across % blocks.down;
  const std::int64_t image = index / (blocks.across * blocks.down);
  const double* corner = histogram + ((image * blocks.rows + y) * blocks.columns + x) * blocks.bins;
  out += index * blocks.values;
  const bool squares = norm == HogNorm::kL2 || norm == HogNorm::kL2Hys;
  double sum = 0;
  for_values(corner, blocks, lane,
             [&](std::int64_t, double value) { sum += squares ? value * value : std::fabs(value); });
  const double total = warp_sum(sum), length = squares ? std::sqrt(total + kHogEps * kHogEps) : total + kHogEps;
  if (norm != HogNorm::kL2Hys) {
    const bool root = norm == HogNorm::kL1Sqrt;
    return for_values(corner, blocks, lane, [&](std::int64_t i, double value) {
      out[i] = static_cast<T>(root ? std::sqrt(value / length) : value / length);
    });
  }
  const auto cut = [&](double value) {
    const double part = value / length;
    return part > kHogMost ? kHogMost : part;  // NaN stays
  };
  sum = 0;
  for_values(corner, blocks, lane, [&](std::int64_t, double value) { sum += cut(value) * cut(value); });
  const double again = std::sqrt(warp_sum(sum) + kHogEps * kHogEps);
  for_values(corner, blocks, lane, [&](std::int64_t i, double value) { out[i] = static_cast<T>(cut(value) / again); });
}

Shape shape_of(const TensorView& images, const HogCells& cells) {
  Shape shape = {};
  shape.channels = images.size(1), shape.height = images.size(2), shape.width = images.size(3);
  shape.cell_rows = cells.cell[0], shape.cell_columns = cells.cell[1];
  shape.rows = shape.height / shape.cell_rows, shape.columns = shape.width / shape.cell_columns;
  shape.bins = static_cast<int>(cells.bins);
  const std::int64_t most = std::max<std::int64_t>(1, std::min(kThreads / cells.bins, kPixels / shape.cell_columns));
  shape.groups = (shape.columns + most - 1) / most;
  shape.group = (shape.columns + shape.groups - 1) / shape.groups;
  // A cell wider than a tile is cut into pieces of one row: the order of its pixels stays.
  shape.tile_columns = std::min<std::int64_t>(kPixels, shape.group * shape.cell_columns);
  shape.tile_rows = kPixels / shape.tile_columns;
  return shape;
}

template <class T>
void launch_histogram(const TensorView& images, const Shape& shape, const double* edges, double* histogram,
                      cudaStream_t stream) {
  launch({blocks_for(images.size(0) * shape.rows * shape.groups, 1), kThreads, stream}, hog_histogram_kernel<T>,
         images.ptr<const T>(), shape, edges, histogram);
}

}  // namespace

std::int64_t hog_edge_count(const HogCells& cells) { return 2 * (cells.bins - 1); }

std::int64_t hog_histogram_count(const TensorView& images, const HogCells& cells) {
  return images.size(0) * (images.size(2) / cells.cell[0]) * (images.size(3) / cells.cell[1]) * cells.bins;
}

void launch_hog(const TensorView& images, const HogCells& cells, HogNorm norm, double* edges, double* histogram,
                const TensorView& blocks, cudaStream_t stream) {
  if (images.size(0) == 0) return;
  const Shape shape = shape_of(images, cells);
  launch({blocks_for(cells.bins - 1, kThreads), kThreads, stream}, hog_edges_kernel, shape.bins, edges);
  switch (images.dtype) {
    case DType::kUInt8: launch_histogram<std::uint8_t>(images, shape, edges, histogram, stream); break;
    case DType::kFloat32: launch_histogram<float>(images, shape, edges, histogram, stream); break;
    default: launch_histogram<double>(images, shape, edges, histogram, stream);
  }
  Blocks of = {};
  of.down = blocks.size(1), of.across = blocks.size(2), of.count = blocks.size(0) * of.down * of.across;
  of.rows = shape.rows, of.columns = shape.columns, of.bins = cells.bins;
  of.run = cells.block[1] * cells.bins, of.values = cells.block[0] * of.run;
  const LaunchShape warps = {blocks_for(of.count * kWarp, kThreads), kThreads, stream};
  if (blocks.dtype == DType::kFloat32)
    launch(warps, hog_blocks_kernel<float>, histogram, of, norm, blocks.ptr<float>());
  else
    launch(warps, hog_blocks_kernel<double>, histogram, of, norm, blocks.ptr<double>());
}

}  // namespace saccade::cuda
