// The gradient of a Winograd convolution's weights, F(4 x 4, 3 x 3) transposed: sums over the tiles of products of the
// transformed gradients of the results with the transformed cells, 36 for each pair of channels where the plain
// gradient takes 144; the sums are turned into 3 x 3 gradients at the end. Chunks of tiles keep what is transformed in
// the caches; a thread owns whole sums and adds the chunks in order.
#include <cstring>
#include <numeric>

#include "common/parallel.h"
#include "common/scratch.h"
#include "ops/conv_winograd.h"
#include "ops/conv_winograd_cells.h"

namespace saccade {
namespace {

constexpr int kM = 4;
constexpr std::int64_t kProducts = (kM + 2) * (kM + 2);
constexpr std::int64_t kChunk = std::int64_t{1} << 20;  // transformed elements of a chunk
constexpr std::int64_t kSums = std::int64_t{1} << 19;   // of a block of output channels

class WinogradWeightGradient {
 public:
  WinogradWeightGradient(const TensorView& grad, const TensorView& input, const ConvShape& shape, bool channels_last,
                         const ConvWeights& layout, float* gradient)
      : shape_(shape),
        channels_last_(channels_last),
        tiles_(shape, kM),
        outs_(shape.group_out_channels()),
        panels_(panels_of<float>(shape.group_channels())),
        columns_{outs_, outs_, 1},
        input_(winograd_input(input.ptr<const float>(), shape, kM)),
        grads_(winograd_result_gradients(grad.ptr<const float>(), shape)),
        layout_(layout),
        gradient_(gradient) {}

  void run() const {
    const std::int64_t total = shape_.images * tiles_.per_image(), each = kProducts * (panels_.padded() + outs_);
    const std::int64_t sums_of_all = kProducts * outs_ * panels_.padded(), step = tiles_.phases_x;
    const std::int64_t most = std::max<std::int64_t>(1, std::max(kChunk, sums_of_all) / each);
    const std::int64_t chunks = (total + most - 1) / most;
    const std::int64_t chunk = std::min(total, ((total + chunks - 1) / chunks + step - 1) / step * step);
    // Where one chunk is all, so are its sums, and a block of output channels is done with at a time.
    const std::int64_t fit = std::max<std::int64_t>(1, kSums / (kProducts * panels_.padded() * kConvRows)) * kConvRows;
    const std::int64_t block = chunk < total ? outs_ : std::min(outs_, fit);
    const Scratch<float> cells(kProducts * chunk * panels_.padded()), grads(kProducts * chunk * outs_);
    const Scratch<float> sums(kProducts * block * panels_.padded());
    std::memset(cells.data(), 0, cells.size() * sizeof(float));
    for (std::int64_t group = 0; group < shape_.groups; ++group)
      for (std::int64_t first = 0; first < total; first += chunk) {
        const std::int64_t count = std::min(chunk, total - first);
        winograd_cells(input_, shape_, tiles_, panels_, channels_last_, group, first, count, cells.data());
        winograd_cells(grads_, shape_, tiles_, columns_, channels_last_, group, first, count, grads.data());
        for (std::int64_t n = 0; n < outs_; n += block) {
          const RowPart outs = {n, std::min(outs_, n + block)};
          multiply(outs, count, first > 0, grads.data(), cells.data(), sums.data());
          if (first + count == total) store(group, outs, sums.data());
        }
      }
  }

 private:
  // sums: planes of (panel, outs, columns of the panel).
  void multiply(RowPart outs, std::int64_t count, bool accumulate, const float* grads, const float* cells,
                float* sums) const {
    const auto multiply_tile = conv_gemm_kernels().f32.multiply_strided;
    const std::int64_t size = outs.last - outs.first, parts = row_parts(kProducts * panels_.count(), size);
    const std::int64_t work = count * size * panels_.most / parts;
    parallel_for(kProducts * panels_.count() * parts, conv_grain(work), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t unit = begin; unit < end; ++unit) {
        const RowPart part = row_part(unit % parts, parts, size);
        const std::int64_t product = unit / parts / panels_.count(), panel = unit / parts % panels_.count();
        const std::int64_t column = product * panels_.padded() + panels_.first(panel), pitch = panels_.pitch(panel);
        const float* from = grads + product * count * outs_ + outs.first;
        const float* rows[kConvRows];
        ConvTile<float> tile = {rows, 0, 1, count, outs_, cells + column * count, pitch, accumulate, nullptr};
        for_each_tile(part.first, part.last, [&](std::int64_t n, std::int64_t height) {
          for (std::int64_t i = 0; i < height; ++i) rows[i] = from + n + i;
          tile.count = height, tile.sums = sums + column * size + n * pitch;
          multiply_tile(tile);
        });
      }
    });
  }

  void store(std::int64_t group, RowPart outs, const float* sums) const {
    const auto transform = winograd_kernels().weight_gradients;
    const std::int64_t channels = shape_.group_channels(), size = outs.last - outs.first;
    parallel_for(size, conv_grain(channels * 32), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n)
        for (std::int64_t panel = 0; panel < panels_.count(); ++panel) {
          const std::int64_t channel = panels_.first(panel);
          transform(
              sums + channel * size + n * panels_.pitch(panel), panels_.padded() * size, panels_.columns(panel),
              layout_.c_step, layout_.taps.data(),
              gradient_ + group * layout_.group_step + (outs.first + n) * layout_.n_step + channel * layout_.c_step);
        }
    });
  }

  const ConvShape& shape_;
  const bool channels_last_;
  const WinogradTiles tiles_;
  const std::int64_t outs_;
  const Panels panels_, columns_;  // of the channels; of the outputs: one panel
  const WinogradSource input_, grads_;
  const ConvWeights& layout_;
  float* gradient_;
};

}  // namespace

void conv_winograd_weight_gradient(const TensorView& grad, const TensorView& input, const ConvShape& shape,
                                   bool channels_last, const ConvWeights& layout, float* gradient) {
  WinogradWeightGradient(grad, input, shape, channels_last, layout, gradient).run();
}

}  // namespace saccade
