// Strips of rows: the cells of one are copied once (csrc/ops/strip_layout.h), then every tap of every channel is a
// shifted load of them. A thread owns the results of whole strips, or of some of their output channels.
#include "ops/conv_planes.h"

#include <cstring>

#include "common/dispatch.h"
#include "common/scratch.h"
#include "math/half.h"
#include "ops/conv_panels.h"
#include "ops/strip_layout.h"

namespace saccade {
namespace {

template <class T>
using AccumulatorOf = decltype(to_float(T{}));

// Bytes of a strip's cells: within L2, which they share with the weights; or within L1 where few output channels read
// them.
constexpr std::int64_t kStrip = 3 << 17, kNarrowStrip = 3 << 13;

constexpr std::int64_t kNarrow = 2;  // output channels of a group that are computed one by one

template <class T>
class Planes {
  using A = AccumulatorOf<T>;

 public:
  Planes(const ConvProblem& problem, const TensorView& source, const void* packed, const ConvAffine& affine,
         const TensorView& out)
      : problem_(problem),
        grid_(problem.grid),
        depth_(problem.depth()),
        kernels_(conv_planes_kernels().get<T>()),
        finish_(conv_gemm_kernels().get<T>().finish_planes),
        layout_(grid_, kernels_.lanes),
        strip_(strip_rows()),
        narrow_(problem.outs() <= kNarrow && grid_.dense()),
        registers_(grid_, layout_, strip_, kernels_.lanes, !narrow_),
        offsets_(layout_.offsets(strip_)),
        last_offsets_(layout_.offsets((grid_.rows - 1) % strip_ + 1)),
        affine_(affine),
        source_(source.ptr<const T>()),
        packed_(static_cast<const A*>(packed)),
        out_(out.ptr<T>()),
        residual_(affine.residual ? affine.residual->ptr<const T>() : nullptr) {
    if (!grid_.dense())
      for (std::int64_t q = 0; q < grid_.columns; ++q) places_.push_back(q * grid_.spread_x);
    if (narrow_)
      registers_.for_each_run(0, registers_.count(strip_), strip_,
                              [&](std::int64_t p, std::int64_t q, std::int64_t, std::int64_t length) {
                                places_.push_back(p * grid_.columns + q), lengths_.push_back(length);
                              });
  }

  void run() const {
    const std::int64_t strips = (grid_.rows + strip_ - 1) / strip_, pieces = problem_.images * problem_.groups * strips;
    const std::int64_t parts = row_parts(pieces, problem_.outs());
    const std::int64_t work = problem_.outs() * strip_ * grid_.columns * depth_.whole() / parts;
    parallel_for(pieces * parts, conv_grain(work), [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t cells = depth_.channels * layout_.plane(strip_);
      const Scratch<A> buffer(cells + layout_.slack()), sums((kConvRows * kPlanesMostRegisters + 1) * kernels_.lanes);
      std::memset(buffer.data(), 0, buffer.size() * sizeof(A));
      std::int64_t copied = -1;
      for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t piece = unit / parts, group = piece / strips;
        const Strip strip = {group / problem_.groups, group % problem_.groups, piece % strips * strip_,
                             std::min(strip_, grid_.rows - piece % strips * strip_)};
        if (piece != copied) copy(strip, buffer.data()), copied = piece;
        const RowPart part = row_part(unit % parts, parts, problem_.outs());
        narrow_ ? channels(strip, part, buffer.data()) : multiply(strip, part, buffer.data(), sums.data());
      }
    });
  }

 private:
  struct Strip {
    std::int64_t image, group, first, rows;
  };

  std::int64_t strip_rows() const {
    const std::int64_t bytes = problem_.outs() < kConvRows ? kNarrowStrip : kStrip;
    const std::int64_t row = std::max<std::int64_t>(1, depth_.channels * (layout_.plane(1) - layout_.plane(0)));
    const std::int64_t most = bytes / static_cast<std::int64_t>(sizeof(A)) / row - layout_.halo();
    // Strips of nearly the same height, each a panel of columns at least.
    const std::int64_t panel = kernels_.registers * kernels_.lanes;
    const std::int64_t least = (panel + layout_.pitch() - 1) / layout_.pitch();
    const std::int64_t rows = std::min(grid_.rows, std::max(most, least)), strips = (grid_.rows + rows - 1) / rows;
    return (grid_.rows + strips - 1) / strips;
  }

  void copy(const Strip& strip, A* to) const {
    const std::int64_t area = grid_.source_h * grid_.source_w;
    const T* planes = source_ + (strip.image * problem_.channels + strip.group * depth_.channels) * area;
    for (std::int64_t c = 0; c < depth_.channels; ++c)
      layout_.copy(kernels_, planes + c * area, strip.first, strip.rows, to + c * layout_.plane(strip.rows));
  }

  const std::int64_t* offsets(const Strip& strip) const {
    return strip.rows == strip_ ? offsets_.data() : last_offsets_.data();
  }

  // The pitch, where the taps of a single channel are 3 x 3 neighbours in order; otherwise 0.
  std::int64_t square(const Strip& strip) const {
    if (depth_.channels != 1 || depth_.taps != 9) return 0;
    const std::int64_t* at = offsets(strip);
    for (std::int64_t t = 0; t < 9; ++t)
      if (at[t] != at[0] + t / 3 * layout_.pitch() + t % 3) return 0;
    return layout_.pitch();
  }

  void channels(const Strip& strip, RowPart part, const A* cells) const {
    for (std::int64_t n = part.first; n < part.last; ++n) {
      const std::int64_t channel = strip.group * problem_.outs() + n;
      const std::int64_t first =
          (strip.image * problem_.out_channels + channel) * grid_.results() + strip.first * grid_.columns;
      kernels_.channel({packed_ + channel * depth_.whole(), depth_.channels, depth_.taps, cells,
                        layout_.plane(strip.rows), offsets(strip), registers_.starts(), places_.data(), lengths_.data(),
                        registers_.count(strip.rows), registers_.per_row(), square(strip),
                        static_cast<const A*>(affine_.scale)[channel], static_cast<const A*>(affine_.shift)[channel],
                        residual_ ? residual_ + first : nullptr, out_ + first, affine_.activation});
    }
  }

  void multiply(const Strip& strip, RowPart part, const A* cells, A* sums) const {
    const std::int64_t count = registers_.count(strip.rows), whole = depth_.whole();
    ConvPlanesTile<A> tile = {
        nullptr, 0, depth_.channels, depth_.taps, cells, layout_.plane(strip.rows), offsets(strip), nullptr, 0,
        sums,    0, nullptr};
    for_each_tile(part.first, part.last, [&](std::int64_t n, std::int64_t rows) {
      tile.weights = packed_ + (strip.group * problem_.outs() + n) * whole, tile.count = rows;
      for (std::int64_t first = 0; first < count; first += kernels_.registers) {
        tile.columns = registers_.starts() + first;
        tile.registers = std::min(kernels_.registers, count - first);
        tile.pitch = tile.registers * kernels_.lanes;
        if (layout_.pitch() == grid_.columns && grid_.dense()) {
          const std::int64_t begin = first * kernels_.lanes;
          const std::int64_t length = std::min(tile.pitch, strip.rows * grid_.columns - begin);
          multiply_run(strip, n, tile, strip.first * grid_.columns + begin, length);
        } else {
          kernels_.multiply(tile);
          registers_.for_each_run(first, tile.registers, strip.rows,
                                  [&](std::int64_t p, std::int64_t q, std::int64_t lane, std::int64_t length) {
                                    finish(strip, n, tile, grid_.place(strip.first + p, q), lane, length, finish_);
                                  });
        }
      }
    });
  }

  // A tile whose columns are neighbours in the output, from `place` on.
  void multiply_run(const Strip& strip, std::int64_t n, ConvPlanesTile<A>& tile, std::int64_t place,
                    std::int64_t length) const {
    if constexpr (std::is_same_v<T, A>) {
      if (affine_.activation <= Activation::kRelu) {
        finish(strip, n, tile, place, 0, length, [&](const ConvFinish<T>& outputs) {
          tile.finish = &outputs;
          kernels_.multiply(tile);
          tile.finish = nullptr;
        });
        return;
      }
    }
    kernels_.multiply(tile);
    finish(strip, n, tile, place, 0, length, finish_);
  }

  // `length` results, whose sums begin at `lane`, from `place` of the output planes on; by body(outputs).
  template <class Body>
  void finish(const Strip& strip, std::int64_t n, const ConvPlanesTile<A>& tile, std::int64_t place, std::int64_t lane,
              std::int64_t length, const Body& body) const {
    const std::int64_t channel = strip.group * problem_.outs() + n, area = grid_.out_h * grid_.out_w;
    const std::int64_t first = (strip.image * problem_.out_channels + channel) * area + place;
    const T* residual[kConvRows];
    T* out[kConvRows];
    for (std::int64_t i = 0; i < tile.count; ++i) {
      out[i] = out_ + first + i * area;
      residual[i] = residual_ ? residual_ + first + i * area : nullptr;
    }
    body(ConvFinish<T>{tile.sums + lane, tile.pitch, tile.count, length, static_cast<const A*>(affine_.scale) + channel,
                       static_cast<const A*>(affine_.shift) + channel, residual_ ? residual : nullptr, out,
                       grid_.dense() ? nullptr : places_.data(), affine_.activation});
  }

  const ConvProblem& problem_;
  const ConvGrid& grid_;
  const ConvDepth depth_;
  const ConvPlanesFunctions<T>& kernels_;
  void (*const finish_)(const ConvFinish<T>& finish);
  const StripLayout layout_;
  const std::int64_t strip_;
  const bool narrow_;  // too few output channels for tiles
  const StripRegisters registers_;
  const std::vector<std::int64_t> offsets_, last_offsets_;  // of a whole strip, of the last one
  const ConvAffine& affine_;
  const T* source_;
  const A* packed_;
  T* out_;
  const T* residual_;
  std::vector<std::int64_t> places_, lengths_;  // narrow: of the registers; otherwise of a row's results
};

}  // namespace

std::int64_t conv_planes_packed_size(const ConvProblem& problem) {
  return problem.out_channels * problem.depth().whole();
}

void conv_planes_pack(const ConvProblem& problem, const ConvWeights& weights, void* packed) {
  dispatch_floating(weights.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const ConvDepth depth = problem.depth();
    parallel_for(problem.out_channels, conv_grain(depth.whole()), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const T* from = static_cast<const T*>(weights.data) + n / problem.outs() * weights.group_step +
                        n % problem.outs() * weights.n_step;
        auto* to = static_cast<AccumulatorOf<T>*>(packed) + n * depth.whole();
        for (std::int64_t c = 0; c < depth.channels; ++c)
          for (std::int64_t t = 0; t < depth.taps; ++t) *to++ = to_float(from[c * weights.c_step + weights.taps[t]]);
      }
    });
  });
}

void conv_planes(const ConvProblem& problem, const TensorView& source, const void* packed, const ConvAffine& affine,
                 const TensorView& out) {
  if (problem.images * problem.grid.results() == 0) return;
  dispatch_floating(source.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Planes<T>(problem, source, packed, affine, out).run();
  });
}

}  // namespace saccade
