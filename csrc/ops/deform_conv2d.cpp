#include "ops/deform_conv2d.h"

#include "common/dispatch.h"
#include "ops/conv2d.h"
#include "ops/conv_panels.h"
#include "ops/deform_samples.h"

namespace saccade {
namespace {

constexpr std::int64_t kMostResults = 16 * kConvRows;  // of a chunk: samples of 393 KB and a panel fit in L2

ConvProblem problem_of(const DeformShape& shape) {
  ConvProblem problem = {};
  problem.grid.taps = shape.conv.taps();
  problem.images = shape.conv.images;
  problem.groups = shape.conv.groups;
  problem.channels = shape.conv.channels;
  problem.out_channels = shape.conv.out_channels;
  problem.rows = true;
  return problem;
}

template <class T>
class DeformForward {
  using A = decltype(to_float(T{}));

 public:
  DeformForward(const DeformArguments& arguments, const void* packed, const std::optional<TensorView>& bias,
                const DeformShape& shape, const TensorView& out)
      : shape_(shape),
        depth_(problem_of(shape).depth()),
        outs_(shape.conv.group_out_channels()),
        kernels_(conv_gemm_kernels().get<T>()),
        panels_(panels_of<T>(outs_)),
        taps_(arguments, shape),
        images_(arguments.input, shape),
        packed_(static_cast<const A*>(packed)),
        bias_(shape.conv.out_channels),
        one_(panels_.most),
        none_(panels_.most),
        out_(out.ptr<T>()),
        out_layout_(out),
        together_(std::clamp<std::int64_t>(ConvDepth::kBlock / std::max<std::int64_t>(1, depth_.whole()), 1,
                                           shape.conv.groups)) {
    for (std::int64_t k = 0; k < shape.conv.out_channels; ++k) bias_[k] = bias_value(bias, k);
    std::fill_n(one_.data(), panels_.most, A(1));
    std::fill_n(none_.data(), panels_.most, A(0));
  }

  void run() {
    const std::int64_t threads = omp_get_max_threads(), results = shape_.results(), at_once = images_.at_once();
    const std::int64_t share = (at_once * results + threads - 1) / threads;
    const std::int64_t most = std::min(kMostResults, (share + kConvRows - 1) / kConvRows * kConvRows);
    const std::int64_t chunks = (results + most - 1) / most;
    for (std::int64_t image = 0; image < shape_.conv.images; image += at_once) {
      images_.load(image);
      parallel_for(at_once * chunks, conv_grain(most * shape_.conv.out_channels * depth_.whole()),
                   [&](std::int64_t begin, std::int64_t end) {
                     const Buffers buffers(*this, most);
                     for (std::int64_t unit = begin; unit < end; ++unit) {
                       const std::int64_t first = unit % chunks * most;
                       chunk({image + unit / chunks, first, std::min(most, results - first)}, buffers);
                     }
                   });
    }
  }

 private:
  struct Chunk {
    std::int64_t image, first, count;  // results
  };
  struct Buffers {
    Buffers(const DeformForward& of, std::int64_t results)
        : samples(results * of.depth_.largest() * of.together_),
          sums(results * of.panels_.padded() * of.together_),
          rows(kConvRows * std::min(of.depth_.taps, of.depth_.tap_block())) {}
    Scratch<A> samples, sums;
    Scratch<const A*> rows;
  };
  // A block of the depth: for each group of several, `channels` channels at `taps` taps.
  struct Block {
    std::int64_t first_group, groups, channel, channels, tap, taps, offset;
    std::int64_t width() const { return groups * channels; }
  };

  static A bias_value(const std::optional<TensorView>& bias, std::int64_t k) {
    if (!bias) return 0;
    const std::int64_t at = k * bias->stride(0);
    return bias->dtype == DType::kFloat32 ? static_cast<A>(bias->ptr<float>()[at]) : to_float(bias->ptr<T>()[at]);
  }

  // Groups whose depth is short are sampled together.
  void chunk(const Chunk& at, const Buffers& buffers) const {
    for (std::int64_t g = 0; g < shape_.conv.groups; g += together_) {
      const std::int64_t groups = std::min(together_, shape_.conv.groups - g);
      start(at, g, groups, buffers);
      for_each_block(
          depth_, [&](std::int64_t c, std::int64_t channels, std::int64_t t, std::int64_t taps, std::int64_t offset) {
            const Block block = {g, groups, g * depth_.channels + c, channels, t, taps, offset};
            sample(at, block, buffers);
            for (std::int64_t i = 0; i < groups; ++i)
              for (std::int64_t panel = 0; panel < panels_.count(); ++panel) multiply(at, block, i, panel, buffers);
          });
      for (std::int64_t i = 0; i < groups; ++i)
        for (std::int64_t panel = 0; panel < panels_.count(); ++panel) finish(at, g + i, i, panel, buffers);
    }
  }

  // Sums of a panel: [result][pitch].
  A* sums(const Chunk& at, std::int64_t i, std::int64_t panel, const Buffers& buffers) const {
    return buffers.sums.data() + (i * panels_.padded() + panels_.first(panel)) * at.count;
  }

  void start(const Chunk& at, std::int64_t g, std::int64_t groups, const Buffers& buffers) const {
    for (std::int64_t i = 0; i < groups; ++i)
      for (std::int64_t panel = 0; panel < panels_.count(); ++panel) {
        const std::int64_t pitch = panels_.pitch(panel), columns = panels_.columns(panel);
        A* row = sums(at, i, panel, buffers);
        const A* bias = bias_.data() + (g + i) * outs_ + panels_.first(panel);
        for (std::int64_t r = 0; r < at.count; ++r, row += pitch) {
          std::copy_n(bias, columns, row);
          std::fill(row + columns, row + pitch, A(0));
        }
      }
  }

  // Samples: [result][tap][channel].
  void sample(const Chunk& at, const Block& block, const Buffers& buffers) const {
    const auto kernel = deform_conv2d_kernels().get<T>().sample;
    for (std::int64_t j = 0; j < block.taps; ++j)
      for_offset_groups(shape_, block.channel, block.width(), [&](std::int64_t g, std::int64_t c, std::int64_t count) {
        kernel(taps_.tap(at.image, g, block.tap + j), images_.cells(at.image, c), at.first, at.count, count,
               buffers.samples.data() + j * block.width() + c - block.channel, block.taps * block.width());
      });
  }

  void multiply(const Chunk& at, const Block& block, std::int64_t i, std::int64_t panel, const Buffers& buffers) const {
    const std::int64_t pitch = panels_.pitch(panel), whole = depth_.whole();
    const A* weights = packed_ + ((block.first_group + i) * panels_.padded() + panels_.first(panel)) * whole;
    // The taps of a single group lie one after the other.
    const std::int64_t taps = block.groups == 1 ? 1 : block.taps, depth = block.channels * block.taps / taps;
    ConvTile<A> tile = {nullptr, 0, taps, depth, 1, weights + block.offset * pitch, pitch, true, nullptr};
    for_each_tile(0, at.count, [&](std::int64_t r, std::int64_t count) {
      for (std::int64_t j = 0; j < taps; ++j)
        for (std::int64_t row = 0; row < count; ++row)
          buffers.rows[j * count + row] =
              buffers.samples.data() + ((r + row) * block.taps + j) * block.width() + i * block.channels;
      tile.rows = buffers.rows.data(), tile.count = count, tile.sums = sums(at, i, panel, buffers) + r * pitch;
      kernels_.multiply(tile);
    });
  }

  void finish(const Chunk& at, std::int64_t group, std::int64_t i, std::int64_t panel, const Buffers& buffers) const {
    const std::int64_t channel = group * outs_ + panels_.first(panel), pitch = panels_.pitch(panel);
    T* first = out_ + at.image * out_layout_.image + at.first * out_layout_.cell + channel * out_layout_.channel;
    const A* from = sums(at, i, panel, buffers);
    if (out_layout_.channel != 1)
      return channel_block_kernels().get<T>().unpack(from, pitch, panels_.columns(panel), at.count, first,
                                                     out_layout_.channel);
    T* rows[kMostResults];
    for (std::int64_t r = 0; r < at.count; ++r) rows[r] = first + r * out_layout_.cell;
    kernels_.finish_rows({from, pitch, at.count, panels_.columns(panel), one_.data(), none_.data(), nullptr, rows,
                          nullptr, Activation::kNone});
  }

  const DeformShape& shape_;
  const ConvDepth depth_;
  const std::int64_t outs_;
  const ConvGemmFunctions<T>& kernels_;
  const Panels panels_;
  const DeformTaps<T> taps_;
  DeformImages<T> images_;
  const A* packed_;
  const Scratch<A> bias_, one_, none_;
  T* out_;
  const DeformLayout out_layout_;
  const std::int64_t together_;
};

}  // namespace

std::int64_t deform_conv2d_packed_size(const DeformShape& shape, DType dtype) {
  return conv_packed_size(problem_of(shape), dtype);
}

void deform_conv2d_pack(const TensorView& weight, const DeformShape& shape, void* packed) {
  const std::int64_t n_step = shape.conv.group_channels() * shape.conv.taps();
  ConvWeights weights = {weight.data, weight.dtype, n_step, shape.conv.taps(), shape.conv.group_out_channels() * n_step,
                         {}};
  for (std::int64_t t = 0; t < shape.conv.taps(); ++t) weights.taps.push_back(t);
  conv_pack(problem_of(shape), weights, packed);
}

void deform_conv2d(const DeformArguments& arguments, const void* packed, const std::optional<TensorView>& bias,
                   const DeformShape& shape, const TensorView& out) {
  if (out.numel() == 0) return;
  advise_huge_pages(out.data, out.numel() * dtype_size(out.dtype));
  dispatch_floating(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    DeformForward<T>(arguments, packed, bias, shape, out).run();
  });
}

}  // namespace saccade
