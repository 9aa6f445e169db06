#include "ops/haar_features.h"

#include <algorithm>
#include <vector>

#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/haar_features.h"
#include "ops/checks.h"

namespace saccade {

void check_haar_features(const char* op, const TensorView& sum, const TensorView& tilted, const HaarTable& table,
                         const TensorView& windows) {
  require_shape(op, "integral", sum, "(n, H + 1, W + 1)", {-1, -1, -1});
  require_type(sum.dtype == DType::kInt32 || sum.dtype == DType::kInt64 || sum.dtype == DType::kFloat64, op,
               ": integral must be int32, int64 or float64, got ", dtype_name(sum.dtype));
  require(sum.is_contiguous(), op, ": integral must be contiguous");
  if (tilted.dtype != DType::kUnsupported) {
    require_same_dtype(op, "integral", sum, "tilted", tilted);
    require(shape_string(sum) == shape_string(tilted) && tilted.is_contiguous(), op,
            ": integral and tilted must have the same shape, got ", shape_string(sum), " and ", shape_string(tilted));
    require_same_device(op, "integral", sum, "tilted", tilted);
  }
  require_shape(op, "windows", windows, "(m, 3)", {-1, 3});
  require_dtype(op, "windows", windows, DType::kInt64);
  require_same_device(op, "integral", sum, "windows", windows);
  for (const TensorView* part : {&table.kinds, &table.offsets, &table.columns})
    require_same_device(op, "integral", sum, "features", *part);
  require(table.kinds.ndim == 2 && table.kinds.size(1) == kHaarKindFields && table.kinds.dtype == DType::kInt32 &&
              table.offsets.ndim == 1 && table.offsets.dtype == DType::kInt16 && table.columns.ndim == 1 &&
              table.columns.dtype == DType::kInt64 && table.kinds.is_contiguous() && table.offsets.is_contiguous() &&
              table.columns.is_contiguous() && table.width >= 1 && table.height >= 1,
          op, ": features must come from a HaarFeatureSet");
}

void check_haar_table(const char* op, const TensorView& tilted, const HaarTable& table) {
  const std::int64_t features = table.columns.size(0), area = (table.width + 1) * (table.height + 1);
  const std::int64_t points = tilted.dtype != DType::kUnsupported ? 2 * area : area;
  std::int64_t offsets = 0, counted = 0;
  bool valid = true;
  for (std::int64_t k = 0; k < table.kinds.size(0); ++k) {
    const std::int32_t* kind = table.kinds.ptr<std::int32_t>() + k * kHaarKindFields;
    valid &= kind[0] >= 0 && (kind[1] == 6 || kind[1] == 8 || kind[1] == 9);
    counted += kind[0];
    offsets += static_cast<std::int64_t>(kind[0]) * kind[1];
  }
  valid &= counted == features && offsets == table.offsets.size(0);
  const auto* offset = table.offsets.ptr<std::uint16_t>();
  const auto* column = table.columns.ptr<std::int64_t>();
  for (std::int64_t i = 0; i < table.offsets.size(0); ++i) valid &= offset[i] < points;
  for (std::int64_t i = 0; i < features; ++i) valid &= column[i] >= 0 && column[i] < features;
  require(valid, op, ": features must come from a HaarFeatureSet");
}

namespace {

constexpr std::int64_t kBlock = 2048;   // features whose offsets stay in L2 while windows pass
constexpr std::int64_t kWindows = 128;  // windows whose patches stay there with them

void check_windows(const char* op, const TensorView& sum, const HaarTable& table, const TensorView& windows) {
  for (std::int64_t i = 0; i < windows.size(0); ++i) {
    const std::int64_t* w = windows.ptr<std::int64_t>() + i * windows.stride(0);
    const std::int64_t image = w[0], x = w[windows.stride(1)], y = w[2 * windows.stride(1)];
    require(image >= 0 && image < sum.size(0) && x >= 0 && y >= 0 && x < sum.size(2) && y < sum.size(1) &&
                x + table.width < sum.size(2) && y + table.height < sum.size(1),
            op, ": windows must lie inside the image, got ", table.width, " x ", table.height, " at (", x, ", ", y,
            ") of image ", image, " in ", sum.size(0), " of ", sum.size(2) - 1, " x ", sum.size(1) - 1);
  }
}

template <class S>
void copy_patch(const TensorView& view, const std::int64_t* window, std::int64_t step, const HaarTable& table, S* to) {
  const std::int64_t rows = view.size(1), columns = view.size(2);
  const S* from = view.ptr<S>() + (window[0] * rows + window[2 * step]) * columns + window[step];
  for (std::int64_t y = 0; y <= table.height; ++y)
    std::copy_n(from + y * columns, table.width + 1, to + y * (table.width + 1));
}

template <class S>
void run(const TensorView& sum, const TensorView& tilted, const HaarTable& table, const TensorView& windows,
         const TensorView& values, void (*kernel)(const HaarRun&, const S*, std::int64_t, S*)) {
  struct Block {
    HaarRun run;
    std::int64_t begin, count;  // in the order of the blocks
  };
  std::vector<Block> blocks;
  const auto* offsets = table.offsets.ptr<std::uint16_t>();
  std::int64_t first = 0;
  for (std::int64_t k = 0; k < table.kinds.size(0); ++k) {
    const std::int32_t* kind = table.kinds.ptr<std::int32_t>() + k * kHaarKindFields;
    for (std::int64_t f = 0; f < kind[0]; f += kBlock)
      blocks.push_back(
          {{offsets + f, kind[0], kind + 2, kind[1]}, first + f, std::min<std::int64_t>(kBlock, kind[0] - f)});
    offsets += static_cast<std::int64_t>(kind[0]) * kind[1];
    first += kind[0];
  }
  const std::int64_t area = (table.width + 1) * (table.height + 1), features = table.columns.size(0);
  const bool slanted = tilted.dtype != DType::kUnsupported;
  const std::int64_t patch = slanted ? 2 * area : area;
  const std::int64_t* column = table.columns.ptr<std::int64_t>();
  Scratch<S> patches(static_cast<std::size_t>(patch * std::min(kWindows, windows.size(0))));
  for (std::int64_t begin = 0; begin < windows.size(0); begin += kWindows) {
    const std::int64_t count = std::min(kWindows, windows.size(0) - begin);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t* window = windows.ptr<std::int64_t>() + (begin + i) * windows.stride(0);
      copy_patch<S>(sum, window, windows.stride(1), table, patches.data() + i * patch);
      if (slanted) copy_patch<S>(tilted, window, windows.stride(1), table, patches.data() + i * patch + area);
    }
    parallel_for_dynamic(static_cast<std::int64_t>(blocks.size()), std::max<std::int64_t>(1, 8 / count),
                         [&](std::int64_t from, std::int64_t to) {
                           S chunk[kBlock];
                           for (std::int64_t b = from; b < to; ++b)
                             for (std::int64_t i = 0; i < count; ++i) {
                               const Block& block = blocks[static_cast<std::size_t>(b)];
                               S* row = values.ptr<S>() + (begin + i) * features;
                               const std::int64_t* to_column = column + block.begin;
                               // Columns ascend within a kind: the ends tell whether they are adjacent.
                               const bool adjacent = to_column[block.count - 1] - to_column[0] == block.count - 1;
                               S* out = adjacent ? row + to_column[0] : chunk;
                               kernel(block.run, patches.data() + i * patch, block.count, out);
                               for (std::int64_t f = 0; !adjacent && f < block.count; ++f) row[to_column[f]] = chunk[f];
                             }
                         });
  }
}

}  // namespace

void haar_features(const char* op, const TensorView& sum, const TensorView& tilted, const HaarTable& table,
                   const TensorView& windows, const TensorView& values) {
  check_haar_features(op, sum, tilted, table, windows);
  check_windows(op, sum, table, windows);
  const HaarKernels& kernels = haar_kernels();
  switch (sum.dtype) {
    case DType::kInt32: return run<std::int32_t>(sum, tilted, table, windows, values, kernels.i32);
    case DType::kInt64: return run<std::int64_t>(sum, tilted, table, windows, values, kernels.i64);
    default: return run<double>(sum, tilted, table, windows, values, kernels.f64);
  }
}

}  // namespace saccade
