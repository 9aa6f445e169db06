// The gradient of a convolution's weights in channels_last, and of its bias: for each panel of (tap, channel) pairs the
// product of the results' gradients, a row per output channel, with the cells that the panel's pairs saw, chunk of
// results after chunk. A thread owns whole elements of the gradient and adds the chunks in order.
#include <cstring>

#include "common/dispatch.h"
#include "common/scratch.h"
#include "math/half.h"
#include "ops/conv_padded_band.h"
#include "ops/conv_panels.h"

namespace saccade {
namespace {

constexpr std::int64_t kChunk = 256;  // results whose cells are copied at a time: a panel of 64 KiB

template <class T>
class WeightGradient {
  using A = decltype(to_float(T{}));

 public:
  // source: channels_last; null stands for ones.
  WeightGradient(const ConvProblem& problem, const T* source, const T* results)
      : problem_(problem),
        grid_(problem.grid),
        depth_(problem.depth()),
        run_(neighbouring_taps(problem)),
        kernels_(conv_gemm_kernels().get<T>()),
        panels_(panels_of<T>(depth_.whole())),
        source_(source),
        results_(results) {}

  // store(group, first output channel, channels, panel, sums): sums [channels][pitch].
  template <class Store>
  void run(const Store& store) const {
    const std::int64_t pieces = problem_.groups * panels_.count();
    if (pieces == 0) return;
    if (source_ != nullptr && PaddedBand<T>::serves(grid_, run_)) return run_on_bands(store);
    const std::int64_t parts = row_parts(pieces, problem_.outs());
    const std::int64_t work = problem_.images * grid_.results() * problem_.outs() * panels_.most / parts;
    parallel_for(pieces * parts, conv_grain(work), [&](std::int64_t begin, std::int64_t end) {
      const Scratch<A> sums(problem_.outs() * panels_.most), cells(kChunk * panels_.most);
      const Scratch<A> copies(std::is_same_v<T, A> ? 0 : kChunk * problem_.outs());
      for (std::int64_t unit = begin; unit < end; ++unit) {
        const RowPart part = row_part(unit % parts, parts, problem_.outs());
        const std::int64_t panel = unit / parts % panels_.count(), group = unit / parts / panels_.count();
        std::memset(sums.data(), 0, problem_.outs() * panels_.pitch(panel) * sizeof(A));
        for_each_chunk([&](std::int64_t image, std::int64_t first, std::int64_t count) {
          gather(image, group, panel, first, count, cells.data());
          const std::int64_t pitch = panels_.pitch(panel);
          add(image, group, panel, part, first, count, cells.data(), pitch, copies.data(), sums.data());
        });
        store(group, part.first, part.last - part.first, panel, sums.data() + part.first * panels_.pitch(panel));
      }
    });
  }

  const Panels& panels() const { return panels_; }

 private:
  // Few channels: all their cells are gathered once for all panels. Three times as fast for ResNet's first layer, where
  // gathering took most of the time.
  template <class Store>
  void run_on_bands(const Store& store) const {
    const std::int64_t parts = row_parts(2, problem_.outs()), pitch = panels_.padded();
    parallel_for(parts, 1, [&](std::int64_t begin, std::int64_t end) {
      const PaddedBand<T> band(problem_, run_);
      const Scratch<A> sums(problem_.outs() * pitch), cells(kChunk * pitch + kernels_.lanes);
      const Scratch<A> copies(std::is_same_v<T, A> ? 0 : kChunk * problem_.outs());
      std::memset(sums.data(), 0, sums.size() * sizeof(A));
      std::memset(cells.data(), 0, cells.size() * sizeof(A));
      const RowPart part = {row_part(begin, parts, problem_.outs()).first,
                            row_part(end - 1, parts, problem_.outs()).last};
      for (std::int64_t image = 0; image < problem_.images; ++image)
        for (std::int64_t row = 0; row < grid_.rows; row += band.rows()) {
          band.load(source_ + image * grid_.source_h * grid_.source_w * problem_.channels, row);
          const std::int64_t last = std::min(grid_.rows, row + band.rows()) * grid_.columns;
          for (std::int64_t first = row * grid_.columns; first < last; first += kChunk) {
            const std::int64_t count = std::min(kChunk, last - first);
            band.gather(first - row * grid_.columns, count, cells.data(), pitch);
            for (std::int64_t panel = 0; panel < panels_.count(); ++panel)
              add(image, 0, panel, part, first, count, cells.data() + panels_.first(panel), pitch, copies.data(),
                  sums.data() + panels_.first(panel) * problem_.outs());
          }
        }
      for (std::int64_t panel = 0; panel < panels_.count(); ++panel)
        store(0, part.first, part.last - part.first, panel,
              sums.data() + panels_.first(panel) * problem_.outs() + part.first * panels_.pitch(panel));
    });
  }

  template <class Body>
  void for_each_chunk(const Body& body) const {
    for (std::int64_t image = 0; image < problem_.images; ++image)
      for (std::int64_t first = 0; first < grid_.results(); first += kChunk)
        body(image, first, std::min(kChunk, grid_.results() - first));
  }

  // cells[result][pair]
  void gather(std::int64_t image, std::int64_t group, std::int64_t panel, std::int64_t first, std::int64_t count,
              A* cells) const {
    const std::int64_t pitch = panels_.pitch(panel), columns = panels_.columns(panel), pair = panels_.first(panel);
    if (source_ == nullptr) {
      std::fill(cells, cells + count * pitch, A(1));
    } else {
      if (columns < pitch) std::memset(cells, 0, count * pitch * sizeof(A));
      for (std::int64_t r = 0; r < count; ++r) gather_row(image, group, first + r, pair, columns, cells + r * pitch);
    }
  }

  void gather_row(std::int64_t image, std::int64_t group, std::int64_t result, std::int64_t pair, std::int64_t columns,
                  A* to) const {
    const std::int64_t y0 = result / grid_.columns * grid_.step_y, x0 = result % grid_.columns * grid_.step_x;
    for (std::int64_t j = 0; j < columns;) {
      const std::int64_t tap = (pair + j) / depth_.channels, channel = (pair + j) % depth_.channels;
      const std::int64_t run = std::min(depth_.channels - channel, columns - j);
      const std::int64_t y = y0 + grid_.tap_y[tap], x = x0 + grid_.tap_x[tap];
      if (y >= 0 && y < grid_.source_h && x >= 0 && x < grid_.source_w) {
        const std::int64_t pixel = (image * grid_.source_h + y) * grid_.source_w + x;
        kernels_.copy_pixel(source_ + pixel * problem_.channels + group * depth_.channels + channel, 1, run, to + j);
      } else {
        std::memset(to + j, 0, run * sizeof(A));
      }
      j += run;
    }
  }

  void add(std::int64_t image, std::int64_t group, std::int64_t panel, RowPart part, std::int64_t first,
           std::int64_t count, const A* cells, std::int64_t cells_step, A* copies, A* sums) const {
    const std::int64_t pitch = panels_.pitch(panel), channel = group * problem_.outs();
    // Output channel n of result r: base[n * n_step + r * r_step].
    std::int64_t n_step = problem_.rows ? 1 : grid_.results(), r_step = problem_.rows ? problem_.out_channels : 1;
    const T* from = results_ + (problem_.rows ? (image * grid_.results() + first) * r_step + channel
                                              : (image * problem_.out_channels + channel) * n_step + first);
    const A* base;
    if constexpr (std::is_same_v<T, A>) {
      base = from;
    } else {
      const std::int64_t outs = problem_.outs();
      if (problem_.rows) {
        for (std::int64_t r = 0; r < count; ++r) kernels_.copy_pixel(from + r * r_step, 1, outs, copies + r * outs);
        r_step = outs;
      } else {
        for (std::int64_t n = 0; n < outs; ++n) kernels_.copy_pixel(from + n * n_step, 1, count, copies + n * kChunk);
        n_step = kChunk;
      }
      base = copies;
    }
    ConvTile<A> tile = {nullptr, 0, 1, count, r_step, cells, pitch, true, nullptr, nullptr, nullptr, cells_step};
    for_each_tile(part.first, part.last, [&](std::int64_t n, std::int64_t rows) {
      const A* starts[kConvRows];
      for (std::int64_t i = 0; i < rows; ++i) starts[i] = base + (n + i) * n_step;
      tile.rows = starts, tile.count = rows, tile.sums = sums + n * pitch;
      kernels_.multiply_strided(tile);
    });
  }

  const ConvProblem& problem_;
  const ConvGrid& grid_;
  const ConvDepth depth_;
  const std::int64_t run_;  // of taps
  const ConvGemmFunctions<T>& kernels_;
  const Panels panels_;
  const T *source_, *results_;
};

}  // namespace

void conv_weight_gradient(const ConvProblem& problem, const TensorView& source, const TensorView& results,
                          const ConvWeights& layout, void* gradient) {
  dispatch_floating(source.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const WeightGradient<T> sum(problem, source.ptr<const T>(), results.ptr<const T>());
    const std::int64_t channels = problem.depth().channels;
    sum.run([&](std::int64_t group, std::int64_t n, std::int64_t count, std::int64_t panel, const A* sums) {
      A* to = static_cast<A*>(gradient) + group * layout.group_step + n * layout.n_step;
      const std::int64_t first = sum.panels().first(panel), pitch = sum.panels().pitch(panel);
      for (std::int64_t j = 0, run; j < sum.panels().columns(panel); j += run) {  // the channels of one tap
        const std::int64_t c = (first + j) % channels;
        run = std::min(channels - c, sum.panels().columns(panel) - j);
        A* place = to + layout.taps[(first + j) / channels] + c * layout.c_step;
        for (std::int64_t i = 0; i < count; ++i)
          if (layout.c_step == 1) {
            std::memcpy(place + i * layout.n_step, sums + i * pitch + j, run * sizeof(A));
          } else {
            for (std::int64_t k = 0; k < run; ++k)
              place[i * layout.n_step + k * layout.c_step] = sums[i * pitch + j + k];
          }
      }
    });
  });
}

void conv_bias_gradient(const ConvProblem& problem, const TensorView& results, void* gradient) {
  ConvProblem ones = problem;
  ones.channels = problem.groups;
  ones.grid.taps = 1;
  dispatch_floating(results.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    const WeightGradient<T> sum(ones, nullptr, results.ptr<const T>());
    sum.run([&](std::int64_t group, std::int64_t n, std::int64_t count, std::int64_t panel, const A* sums) {
      A* to = static_cast<A*>(gradient) + group * problem.outs() + n;
      for (std::int64_t i = 0; i < count; ++i) to[i] = sums[i * sum.panels().pitch(panel)];
    });
  });
}

}  // namespace saccade
