#include "ops/conv_winograd.h"

#include <cstring>
#include <numeric>

#include "common/large_output.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/conv_winograd.h"
#include "ops/conv_panels.h"
#include "ops/conv_winograd_cells.h"
#include "ops/conv_winograd_planes.h"

namespace saccade {
namespace {

class WinogradConvolution {
 public:
  WinogradConvolution(const TensorView& input, const float* packed, const ConvShape& shape, int m, bool channels_last,
                      const ConvAffine& affine, const TensorView& out)
      : shape_(shape),
        channels_last_(channels_last),
        m_(m),
        cells_(m + 2),
        tiles_(shape, m),
        rows_{shape.group_channels(), shape.group_channels(), 1},
        panels_(panels_of<float>(shape.group_out_channels())),
        affine_(affine),
        source_(winograd_input(input.ptr<const float>(), shape, m)),
        packed_(packed),
        out_(out.ptr<float>()),
        residual_(affine.residual ? affine.residual->ptr<const float>() : nullptr) {}

  void run() const {
    const std::int64_t depth = shape_.group_channels(), products = cells_ * cells_;
    const std::int64_t operands = shape_.images * (shape_.channels * shape_.y.in * shape_.x.in +
                                                   shape_.out_channels * shape_.y.out * shape_.x.out) +
                                  shape_.out_channels * depth * 9;
    const std::int64_t room = operands / 2 + (1 << 18), each = products * (depth + panels_.padded());
    const std::int64_t total = shape_.images * tiles_.per_image();
    const std::int64_t most = std::max<std::int64_t>(kConvRows, std::min<std::int64_t>(room, 1 << 22) / each);
    const std::int64_t chunks = (total + most - 1) / most, step = std::lcm(kConvRows, tiles_.phases_x);
    const std::int64_t chunk = std::min(total, ((total + chunks - 1) / chunks + step - 1) / step * step);
    const Scratch<float> cells(products * chunk * depth), sums(products * chunk * panels_.padded());
    for (std::int64_t group = 0; group < shape_.groups; ++group)
      for (std::int64_t first = 0; first < total; first += chunk) {
        const std::int64_t count = std::min(chunk, total - first);
        winograd_cells(source_, shape_, tiles_, rows_, channels_last_, group, first, count, cells.data());
        multiply(group, count, cells.data(), sums.data());
        if (channels_last_) {
          transform_results(group, first, count, sums.data());
        } else {
          winograd_results_to_planes(sums.data(), shape_, tiles_, panels_, group, first, count, affine_, out_);
        }
      }
  }

 private:
  void multiply(std::int64_t group, std::int64_t count, const float* cells, float* sums) const {
    const std::int64_t depth = shape_.group_channels(), padded = panels_.padded(), products = cells_ * cells_;
    const auto multiply_tile = conv_gemm_kernels().f32.multiply;
    const float* weights = packed_ + group * products * padded * depth;
    parallel_for(products * panels_.count(), conv_grain(count * depth * panels_.most),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t unit = begin; unit < end; ++unit) {
                     const std::int64_t product = unit / panels_.count(), panel = unit % panels_.count();
                     const std::int64_t column = product * padded + panels_.first(panel), pitch = panels_.pitch(panel);
                     const float* rows[kConvRows];
                     ConvTile<float> tile = {rows, 0, 1, depth, 1, weights + column * depth, pitch, false, nullptr};
                     for_each_tile(0, count, [&](std::int64_t t, std::int64_t n) {
                       for (std::int64_t i = 0; i < n; ++i) rows[i] = cells + (product * count + t + i) * depth;
                       tile.count = n, tile.sums = sums + column * count + t * pitch;
                       multiply_tile(tile);
                     });
                   }
                 });
  }

  void transform_results(std::int64_t group, std::int64_t first, std::int64_t count, const float* sums) const {
    const auto transform = winograd_functions(m_).results;
    parallel_for(count, conv_grain(panels_.padded() * 32), [&](std::int64_t begin, std::int64_t end) {
      const float* residual[kWinogradMostCells * kWinogradMostCells];
      float* out[kWinogradMostCells * kWinogradMostCells];
      for (std::int64_t t = begin; t < end; ++t) {
        for (std::int64_t panel = 0; panel < panels_.count(); ++panel) {
          const std::int64_t channel = group * shape_.group_out_channels() + panels_.first(panel);
          find_results(tiles_.place(first + t), channel, out, residual);
          const float* products = sums + panels_.first(panel) * count + t * panels_.pitch(panel);
          transform({products, panels_.padded() * count, panels_.columns(panel),
                     static_cast<const float*>(affine_.scale) + channel,
                     static_cast<const float*>(affine_.shift) + channel, residual_ ? residual : nullptr, out,
                     affine_.activation});
        }
      }
    });
  }

  void find_results(const WinogradTiles::Place& at, std::int64_t channel, float** out, const float** residual) const {
    for (int i = 0; i < m_; ++i)
      for (int j = 0; j < m_; ++j) {
        const std::int64_t y = at.y + i * tiles_.dy, x = at.x + j * tiles_.dx;
        const std::int64_t to = ((at.image * shape_.y.out + y) * shape_.x.out + x) * shape_.out_channels + channel;
        const bool inside = y < shape_.y.out && x < shape_.x.out;
        out[i * m_ + j] = inside ? out_ + to : nullptr;
        residual[i * m_ + j] = inside && residual_ ? residual_ + to : nullptr;
      }
  }

  const ConvShape& shape_;
  const bool channels_last_;
  const int m_, cells_;
  const WinogradTiles tiles_;
  const Panels rows_, panels_;  // of the cells: one panel of all channels
  const ConvAffine& affine_;
  const WinogradSource source_;
  const float* packed_;
  float* out_;
  const float* residual_;
};

}  // namespace

std::int64_t winograd_packed_size(const ConvShape& shape, int m) {
  const Panels panels = panels_of<float>(shape.group_out_channels());
  return shape.groups * (m + 2) * (m + 2) * panels.padded() * shape.group_channels();
}

void winograd_pack(const ConvWeights& weights, const ConvShape& shape, int m, float* packed) {
  const Panels panels = panels_of<float>(shape.group_out_channels());
  const std::int64_t depth = shape.group_channels(), product = panels.padded() * depth;
  const std::int64_t group_size = (m + 2) * (m + 2) * product;
  const auto transform = winograd_functions(m).weights;
  advise_huge_pages(packed, shape.groups * group_size * static_cast<std::int64_t>(sizeof(float)));
  parallel_for(shape.groups * panels.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    // A cache line of each product: they lie far apart, often by a power of two, where single elements evict each
    // other.
    constexpr std::int64_t kLine = kWinogradLine;
    float lines[kWinogradMostCells * kWinogradMostCells * kLine];
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::int64_t group = unit / panels.count(), panel = unit % panels.count(), pitch = panels.pitch(panel);
      float* to = packed + group * group_size + panels.first(panel) * depth;
      if (panels.columns(panel) < pitch)
        for (std::int64_t i = 0; i < (m + 2) * (m + 2); ++i)
          std::memset(to + i * product, 0, pitch * depth * sizeof(float));
      const float* from =
          static_cast<const float*>(weights.data) + group * weights.group_step + panels.first(panel) * weights.n_step;
      for (std::int64_t c = 0; c < depth; ++c)
        for (std::int64_t k = 0; k < panels.columns(panel); k += kLine) {
          const std::int64_t count = std::min(kLine, panels.columns(panel) - k);
          transform(from + k * weights.n_step + c * weights.c_step, weights.n_step, weights.taps.data(), count, lines);
          for (std::int64_t i = 0; i < (m + 2) * (m + 2); ++i)
            std::memcpy(to + i * product + c * pitch + k, lines + i * kLine, count * sizeof(float));
        }
    }
  });
}

void conv_winograd(const TensorView& input, const float* packed, const ConvShape& shape, int m, bool channels_last,
                   const ConvAffine& affine, const TensorView& out) {
  WinogradConvolution(input, packed, shape, m, channels_last, affine, out).run();
}

}  // namespace saccade
