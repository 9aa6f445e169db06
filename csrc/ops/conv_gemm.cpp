#include "ops/conv_gemm.h"

#include <cstring>

#include "common/dispatch.h"
#include "common/scratch.h"
#include "kernels/conv_pairs.h"
#include "math/half.h"
#include "ops/conv_panels.h"

namespace saccade {
namespace {

constexpr std::int64_t kChunk = 16 * kConvRows;  // results whose sums wait together
constexpr std::int64_t kHeld = 1 << 19;          // bytes that a second-level cache holds beside others

template <class T>
using AccumulatorOf = decltype(to_float(T{}));

// Of outputs of type T as products of elements of type E: T itself, or float for halves, whose cells are then copied.
template <class T, class E>
class Gemm {
  using A = AccumulatorOf<T>;
  static constexpr bool kInPlace = std::is_same_v<T, E>;

 public:
  Gemm(void (*multiply)(const ConvTile<E>& tile), std::int64_t width, const ConvProblem& problem,
       const TensorView& source, const void* packed, const ConvAffine& affine, const TensorView& out)
      : problem_(problem),
        grid_(problem.grid),
        depth_(problem.depth()),
        kernels_(conv_gemm_kernels().get<T>()),
        multiply_(multiply),
        panels_(panels_of<T>(problem.outs())),
        affine_(affine),
        source_(source.ptr<const T>()),
        packed_(static_cast<const A*>(packed)),
        out_(out.ptr<T>()),
        residual_(affine.residual ? affine.residual->ptr<const T>() : nullptr),
        far_cells_(source.numel() * static_cast<std::int64_t>(sizeof(T)) > kHeld),
        far_results_(out.numel() * static_cast<std::int64_t>(sizeof(T)) > kHeld),
        run_(neighbouring_taps(problem)),
        steps_{depth_, run_, width} {
    for (std::int64_t t = 0; t < grid_.taps; ++t) {
      if (t % run_ == 0) offsets_.push_back((grid_.tap_y[t] * grid_.source_w + grid_.tap_x[t]) * problem_.channels);
      low_y_ = std::min(low_y_, grid_.tap_y[t]), high_y_ = std::max(high_y_, grid_.tap_y[t]);
      low_x_ = std::min(low_x_, grid_.tap_x[t]), high_x_ = std::max(high_x_, grid_.tap_x[t]);
    }
  }

  void run() const {
    const std::int64_t results = problem_.images * grid_.results(), chunks = (results + kChunk - 1) / kChunk;
    const std::int64_t panels = panels_.count(), units = problem_.groups * panels * chunks;
    // Weights that stay in the cache meet all of a chunk's cells in turn; else each panel of them meets all chunks.
    const bool chunk_by_chunk = panels_.padded() * steps_.whole() * static_cast<std::int64_t>(sizeof(A)) <= kHeld;
    parallel_for(units, conv_grain(kChunk * panels_.most * depth_.whole()), [&](std::int64_t begin, std::int64_t end) {
      Buffers buffers(*this);
      for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t of_group = unit % (panels * chunks);
        const std::int64_t panel = chunk_by_chunk ? of_group % panels : of_group / chunks;
        const std::int64_t first = (chunk_by_chunk ? of_group / panels : of_group % chunks) * kChunk;
        chunk(unit / (panels * chunks), panel, first, std::min(results, first + kChunk), buffers);
      }
    });
  }

 private:
  struct Buffers {
    explicit Buffers(const Gemm& of)
        : sums(kChunk * of.panels_.most),
          zeros(of.depth_.channel_block() * of.run_),
          pixels(kConvRows * std::min(of.depth_.taps, of.depth_.tap_block())),
          copies(kInPlace ? 0 : kConvRows * of.depth_.largest()),
          borders(of.run_ > 1 ? kConvRows * of.depth_.whole() : 0) {
      std::memset(zeros.data(), 0, zeros.size() * sizeof(T));
    }
    Scratch<A> sums;
    Scratch<T> zeros;
    Scratch<const T*> pixels;
    Scratch<A> copies;
    Scratch<T> borders;
  };
  // A result: its image, row, column.
  struct Result {
    std::int64_t image, p, q;
  };

  void chunk(std::int64_t group, std::int64_t panel, std::int64_t first, std::int64_t last, Buffers& buffers) const {
    const std::int64_t pitch = panels_.pitch(panel), whole = depth_.whole();
    const A* weights = packed_ + (group * panels_.padded() + panels_.first(panel)) * steps_.whole();
    // Only sums that wait for another block need a place of their own.
    const bool single = whole <= depth_.largest();
    const auto sums = [&](std::int64_t r) { return buffers.sums.data() + (single ? 0 : r - first) * pitch; };
    for_each_block(
        depth_, [&](std::int64_t c, std::int64_t channels, std::int64_t t, std::int64_t taps, std::int64_t offset) {
          const A* block = weights + steps_.before(c, channels, t) * pitch;
          ConvTile<E> tile = {nullptr, 0, taps / run_, channels * run_, 1, block, pitch, offset > 0, nullptr};
          Result next = result(first);
          for_each_tile(first, last, [&](std::int64_t r, std::int64_t count) {
            const bool inside = find_cells(next, count, t, taps, group * depth_.channels + c, buffers);
            tile.offsets = inside ? offsets_.data() + t / run_ : nullptr;
            tile.ahead = inside && far_cells_ && grid_.taps == 1 ? count * grid_.step_x * problem_.channels : 0;
            tile.count = count, tile.sums = sums(r);
            if (offset + channels * taps < whole) return multiply(tile, buffers);
            finish(group, panel, r, tile, buffers);
          });
        });
    if (whole > 0) return;
    for_each_tile(first, last, [&](std::int64_t r, std::int64_t count) {
      std::memset(sums(r), 0, count * pitch * sizeof(A));
      ConvTile<E> empty = {nullptr, count, 0, 0, 1, weights, pitch, true, sums(r)};
      finish(group, panel, r, empty, buffers);
    });
  }

  Result result(std::int64_t r) const {
    const std::int64_t in_image = r % grid_.results();
    return {r / grid_.results(), in_image / grid_.columns, in_image % grid_.columns};
  }
  void advance(Result& at, std::int64_t by) const {
    for (at.q += by; at.q >= grid_.columns; at.q -= grid_.columns)
      if (++at.p == grid_.rows) at.p = 0, ++at.image;
  }

  // Where the cells of `count` results from `at` on lie for taps [t, t + taps); moves on behind them. Results of one
  // row whose cells all lie inside the source, as nearly all do, are a step apart, the same for every tap: then it
  // gives true and only the cells at the results' own places.
  bool find_cells(Result& at, std::int64_t count, std::int64_t t, std::int64_t taps, std::int64_t channel,
                  Buffers& buffers) const {
    const std::int64_t y = at.p * grid_.step_y, x = at.q * grid_.step_x;
    const bool one_row = at.q + count <= grid_.columns;
    const T** to = buffers.pixels.data();
    if (one_row && y + low_y_ >= 0 && y + high_y_ < grid_.source_h && x + low_x_ >= 0 &&
        x + (count - 1) * grid_.step_x + high_x_ < grid_.source_w) {
      const T* first = source_ + ((at.image * grid_.source_h + y) * grid_.source_w + x) * problem_.channels + channel;
      for (std::int64_t i = 0; i < count; ++i) to[i] = first + i * grid_.step_x * problem_.channels;
      advance(at, count);
      return true;
    }
    for (std::int64_t j = 0; j < taps; j += run_, to += count) {
      Result each = at;
      for (std::int64_t i = 0; i < count; ++i, advance(each, 1))
        to[i] = cells(each, t + j, channel, (i * taps + j) * problem_.channels, buffers);
    }
    advance(at, count);
    return false;
  }

  // The cells of one result for the run of taps from t on; those that lie partly outside are copied into the buffer
  // for borders, to `place`.
  const T* cells(const Result& at, std::int64_t t, std::int64_t channel, std::int64_t place, Buffers& buffers) const {
    const std::int64_t y = at.p * grid_.step_y + grid_.tap_y[t], x = at.q * grid_.step_x + grid_.tap_x[t];
    if (y < 0 || y >= grid_.source_h || x + run_ <= 0 || x >= grid_.source_w) return buffers.zeros.data();
    const T* row = source_ + (at.image * grid_.source_h + y) * grid_.source_w * problem_.channels + channel;
    if (x >= 0 && x + run_ <= grid_.source_w) return row + x * problem_.channels;
    return copy_inside(row, x, buffers.borders.data() + place);
  }

  // run_ cells of a row of the source from column x on, zeros outside it.
  const T* copy_inside(const T* row, std::int64_t x, T* to) const {
    const std::int64_t begin = std::max<std::int64_t>(0, -x), end = std::min(run_, grid_.source_w - x);
    std::memset(to, 0, run_ * problem_.channels * sizeof(T));
    std::memcpy(to + begin * problem_.channels, row + (x + begin) * problem_.channels,
                (end - begin) * problem_.channels * sizeof(T));
    return to;
  }

  void multiply(ConvTile<E>& tile, Buffers& buffers) const {
    if constexpr (kInPlace) {
      tile.rows = buffers.pixels.data();
      multiply_(tile);
    } else {
      const A* rows[kConvRows];
      for (std::int64_t i = 0; i < tile.count; ++i) {
        A* row = buffers.copies.data() + i * depth_.largest();
        for (std::int64_t j = 0; j < tile.taps; ++j) {
          const T* from = tile.offsets ? buffers.pixels[i] + tile.offsets[j] : buffers.pixels[j * tile.count + i];
          kernels_.copy_pixel(from, 1, tile.depth, row + j * tile.depth);
        }
        rows[i] = row;
      }
      ConvTile<E> copied = tile;
      copied.rows = rows, copied.depth = tile.taps * tile.depth, copied.taps = 1, copied.offsets = nullptr;
      multiply_(copied);
    }
  }

  // The last block of a tile: its sums, and the outputs that they become.
  void finish(std::int64_t group, std::int64_t panel, std::int64_t r, ConvTile<E>& tile, Buffers& buffers) const {
    const std::int64_t channel = group * problem_.outs() + panels_.first(panel);
    const T* residual[kConvRows];
    T* out[kConvRows];
    for (std::int64_t i = 0; i < tile.count; ++i) {
      const std::int64_t at = pixel(r + i) * problem_.out_channels + channel;
      out[i] = out_ + at;
      residual[i] = residual_ ? residual_ + at : nullptr;
    }
    const ConvFinish<T> outputs = {tile.sums,
                                   panels_.pitch(panel),
                                   tile.count,
                                   panels_.columns(panel),
                                   static_cast<const A*>(affine_.scale) + channel,
                                   static_cast<const A*>(affine_.shift) + channel,
                                   residual_ ? residual : nullptr,
                                   out,
                                   nullptr,
                                   affine_.activation,
                                   far_results_};
    if constexpr (kInPlace) {
      if (affine_.activation == Activation::kNone || affine_.activation == Activation::kRelu) {
        tile.finish = &outputs;
        multiply(tile, buffers);
        tile.finish = nullptr;
        return;
      }
    }
    multiply(tile, buffers);
    kernels_.finish_rows(outputs);
  }

  // Where result r lies among the pixels of the output.
  std::int64_t pixel(std::int64_t r) const {
    if (grid_.dense()) return r;
    return r / grid_.results() * grid_.out_h * grid_.out_w + grid_.place(r % grid_.results());
  }

  const ConvProblem& problem_;
  const ConvGrid& grid_;
  const ConvDepth depth_;
  const ConvGemmFunctions<T>& kernels_;
  void (*const multiply_)(const ConvTile<E>& tile);
  const Panels panels_;
  const ConvAffine& affine_;
  const T* source_;
  const A* packed_;
  T* out_;
  const T* residual_;
  const bool far_cells_, far_results_;
  const std::int64_t run_;
  const ConvSteps steps_;
  std::vector<std::int64_t> offsets_;                             // of each run of taps from a result's own place
  std::int64_t low_y_ = 0, high_y_ = 0, low_x_ = 0, high_x_ = 0;  // of the taps and 0
};

template <class T>
void pack(const ConvProblem& problem, const ConvWeights& weights, AccumulatorOf<T>* packed) {
  const auto& kernels = conv_gemm_kernels().get<T>();
  const Panels panels = panels_of<T>(problem.outs());
  const std::int64_t whole = problem.depth().whole();
  parallel_for(problem.groups * panels.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::int64_t group = unit / panels.count(), panel = unit % panels.count(), pitch = panels.pitch(panel);
      const T* from =
          static_cast<const T*>(weights.data) + group * weights.group_step + panels.first(panel) * weights.n_step;
      auto* to = packed + (group * panels.padded() + panels.first(panel)) * whole;
      for_each_block(problem.depth(), [&](std::int64_t c, std::int64_t channels, std::int64_t t, std::int64_t taps,
                                          std::int64_t offset) {
        for (std::int64_t j = 0; j < taps; ++j)
          kernels.pack(from + c * weights.c_step + weights.taps[t + j], weights.n_step, weights.c_step,
                       panels.columns(panel), channels, pitch, to + (offset + j * channels) * pitch);
      });
    }
  });
}

}  // namespace

std::int64_t conv_packed_size(const ConvProblem& problem, DType dtype) {
  return dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return problem.groups * panels_of<T>(problem.outs()).padded() * problem.depth().whole();
  });
}

void conv_pack(const ConvProblem& problem, const ConvWeights& weights, void* packed) {
  dispatch_floating(weights.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    pack<T>(problem, weights, static_cast<AccumulatorOf<T>*>(packed));
  });
}

void conv_gemm(const ConvProblem& problem, const TensorView& source, const void* packed, const ConvAffine& affine,
               const TensorView& out) {
  dispatch_floating(source.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto multiply = conv_gemm_kernels().get<T>().multiply;
    Gemm<T, AccumulatorOf<T>>(multiply, 1, problem, source, packed, affine, out).run();
  });
}

void conv_pairs(const ConvProblem& problem, const TensorView& source, const void* packed, const ConvAffine& affine,
                const TensorView& out) {
  Gemm<BFloat16, BFloat16>(conv_pairs_kernels()->multiply, 2, problem, source, packed, affine, out).run();
}

}  // namespace saccade
