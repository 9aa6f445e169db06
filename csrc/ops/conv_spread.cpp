#include "ops/conv_spread.h"

#include <cstring>
#include <numeric>

#include "common/dispatch.h"
#include "common/large_output.h"
#include "common/scratch.h"
#include "kernels/conv_spread.h"
#include "math/half.h"
#include "ops/conv_panels.h"
#include "ops/conv_phases.h"

namespace saccade {
namespace {

template <class T>
using AccumulatorOf = decltype(to_float(T{}));

// The order of the packed weights: for each plane of results (in channels_last there is one of all channels) and tap of
// the rows, tap of the columns, channel of the group: a period, and one register more.
struct SpreadOrder {
  SpreadOrder(const ConvShape& shape, bool channels_last, std::int64_t lanes)
      : pixel(channels_last ? shape.channels : 1),
        planes(channels_last ? 1 : shape.channels),
        stride(shape.x.stride),
        taps_x(shape.x.kernel / shape.x.stride),
        depth(shape.group_out_channels()),
        period(std::lcm(stride * pixel, lanes)),
        line(period + lanes),
        plane(shape.y.kernel * taps_x * depth * line) {}

  // Taps of row tap i of a plane begin here.
  std::int64_t row(std::int64_t p, std::int64_t i) const { return p * plane + i * taps_x * depth * line; }

  std::int64_t pixel, planes;  // results of one place in memory, and into how many planes they are divided
  std::int64_t stride, taps_x, depth, period, line, plane;
};

template <class T>
SpreadOrder order_of(const ConvShape& shape, bool channels_last) {
  return {shape, channels_last, conv_spread_kernels().get<T>().lanes};
}

template <class T>
class Spread {
  using A = AccumulatorOf<T>;

 public:
  Spread(const TensorView& input, const void* packed, const ConvShape& shape, bool channels_last,
         const ConvAffine& affine, const TensorView& out)
      : shape_(shape),
        order_(order_of<T>(shape, channels_last)),
        kernels_(conv_spread_kernels().get<T>()),
        affine_(affine),
        input_(input.ptr<const T>()),
        packed_(static_cast<const A*>(packed)),
        out_(out.ptr<T>()),
        channels_last_(channels_last),
        past_caches_(past_caches(out.data, out.numel() * sizeof(T), 64)),
        block_(order_.stride * order_.pixel),
        first_block_(shape.x.padding / shape.x.stride),
        last_block_((shape.x.in - 1 + shape.x.padding) / shape.x.stride + 1),
        phases_(shape.y.stride < shape.y.in ? shape.y.stride : shape.y.in) {
    std::int64_t low = 0, high = 0;
    for (const Phase& phase : phases_of(shape.y)) {
      if (phase.first >= shape.y.in) continue;
      phases_[phase.first] = phase;
      low = std::min(low, phase.offsets.front()), high = std::max(high, phase.offsets.back());
    }
    kept_ = std::min(high - low + 1, shape.y.out);
    furthest_ = high;
    const std::int64_t outs = shape.group_channels();
    if (channels_last && (order_.depth > 1 || outs > 1))
      for (std::int64_t k = 0; k < order_.pixel; ++k) places_.push_back(k / outs * order_.depth);
    // Cells of two rows, say, stay in L1 while the result rows between them are summed.
    constexpr std::int64_t kCells = 20 << 10;
    const std::int64_t bytes = kept_ * order_.depth * block_ * static_cast<std::int64_t>(sizeof(A));
    blocks_ = std::min(std::max<std::int64_t>(4, kCells / bytes), last_block_ - first_block_);
  }

  void run() const {
    const std::int64_t chunks = (last_block_ - first_block_ + blocks_ - 1) / blocks_;
    const std::int64_t pieces = shape_.images * order_.planes * chunks;
    const std::int64_t bands = pieces == 0 ? 1 : std::min(shape_.y.in, 2 * omp_get_max_threads() / pieces + 1);
    const std::int64_t work = shape_.y.in / bands * blocks_ * block_ * order_.taps_x * order_.depth / 4;
    parallel_for(pieces * bands, conv_grain(work), [&](std::int64_t begin, std::int64_t end) {
      Buffers buffers(*this);
      for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t band = unit % bands, chunk = unit / bands % chunks, plane = unit / bands / chunks;
        const std::int64_t first = first_block_ + chunk * blocks_;
        piece(plane / order_.planes, plane % order_.planes, first, std::min(last_block_, first + blocks_),
              shape_.y.in * band / bands, shape_.y.in * (band + 1) / bands, buffers);
      }
      if (past_caches_) kernels_.fence();
    });
  }

 private:
  struct Buffers {
    explicit Buffers(const Spread& of)
        : line((of.blocks_ + of.order_.taps_x - 1) * of.block_ + 2 * of.kernels_.lanes),
          cells(of.kept_ * of.order_.depth * line),
          scale(of.order_.line),
          shift(of.order_.line),
          taps(2 * of.shape_.y.kernel * of.order_.taps_x * of.order_.depth),
          rows(of.kept_) {
      if (of.channels_last_)
        for (std::int64_t m = 0; m < of.order_.line; ++m) of.set_affine(m, m % of.order_.pixel, *this);
    }
    std::int64_t line;
    Scratch<A> cells, scale, shift;  // cells: [row of the source modulo kept_][channel of the group]
    Scratch<const A*> taps;
    std::vector<std::int64_t> rows;  // which row of the source is there, or -1
  };

  void set_affine(std::int64_t m, std::int64_t channel, Buffers& buffers) const {
    buffers.scale[m] = static_cast<const A*>(affine_.scale)[channel];
    buffers.shift[m] = static_cast<const A*>(affine_.shift)[channel];
  }

  // Result rows [y0, y1) of blocks [first, last) of one plane.
  void piece(std::int64_t image, std::int64_t plane, std::int64_t first, std::int64_t last, std::int64_t y0,
             std::int64_t y1, Buffers& buffers) const {
    if (!channels_last_)
      for (std::int64_t m = 0; m < order_.line; ++m) set_affine(m, plane, buffers);
    std::fill(buffers.rows.begin(), buffers.rows.end(), -1);
    const std::int64_t begin = std::max(first * order_.stride, shape_.x.padding);
    const std::int64_t end = std::min(last * order_.stride, shape_.x.in + shape_.x.padding);
    const std::int64_t from = (begin - first * order_.stride) * order_.pixel;
    const A **cells = buffers.taps.data(), **weights = cells + buffers.taps.size() / 2;
    const std::int64_t phase_of_row = begin * order_.pixel % order_.period;
    // Divisions, a dozen of which cost as much as a short row, stay out of the loop.
    std::int64_t p = y0 / shape_.y.stride, remainder = y0 % shape_.y.stride;
    for (std::int64_t y = y0; y < y1; ++y) {
      const Phase& phase = phases_[remainder];
      // The row that comes into reach, before a result row that does without it, as a rule: loads of what was stored
      // just now, across the borders of the stores, would wait.
      if (remainder == 0 && p + furthest_ >= 0 && p + furthest_ < shape_.y.out)
        spread_row(image, plane, p + furthest_, first, last, buffers);
      std::int64_t taps = 0;
      for (std::size_t i = 0; i < phase.taps.size(); ++i) {
        const std::int64_t row = p + phase.offsets[i];
        if (row < 0 || row >= shape_.y.out) continue;
        const A* spread = spread_row(image, plane, row, first, last, buffers);
        const A* weight = packed_ + order_.row(plane, phase.taps[i]);
        for (std::int64_t j = 0; j < order_.taps_x; ++j)
          for (std::int64_t c = 0; c < order_.depth; ++c, ++taps, weight += order_.line) {
            cells[taps] = spread + c * buffers.line + (order_.taps_x - 1 - j) * block_ + from;
            weights[taps] = weight;
          }
      }
      const std::int64_t row = (image * order_.planes + plane) * shape_.y.in + y;
      kernels_.row({cells, weights, taps, order_.period, phase_of_row, (end - begin) * order_.pixel,
                    buffers.scale.data(), buffers.shift.data(),
                    out_ + (row * shape_.x.in + begin - shape_.x.padding) * order_.pixel, past_caches_,
                    affine_.activation});
      if (++remainder == shape_.y.stride) remainder = 0, ++p;
    }
  }

  // Row `row` of the source, spread over blocks [first - taps_x + 1, last) of results.
  const A* spread_row(std::int64_t image, std::int64_t plane, std::int64_t row, std::int64_t first, std::int64_t last,
                      Buffers& buffers) const {
    const std::int64_t slot = row % kept_;
    A* const cells = buffers.cells.data() + slot * order_.depth * buffers.line;
    if (buffers.rows[slot] == row) return cells;
    buffers.rows[slot] = row;
    const std::int64_t q0 = first - order_.taps_x + 1, begin = std::max<std::int64_t>(q0, 0);
    const std::int64_t end = std::min(last, shape_.x.out), outs = shape_.group_channels();
    for (std::int64_t c = 0; c < order_.depth; ++c) {
      A* const to = cells + c * buffers.line;
      if (begin >= end) {
        std::memset(to, 0, (last - q0) * block_ * sizeof(A));
        continue;
      }
      if (begin > q0) std::memset(to, 0, (begin - q0) * block_ * sizeof(A));
      if (channels_last_) {
        const T* pixels = input_ + ((image * shape_.y.out + row) * shape_.x.out + begin) * shape_.out_channels + c;
        kernels_.spread(pixels, shape_.out_channels, end - begin, order_.stride, order_.pixel,
                        places_.empty() ? nullptr : places_.data(), to + (begin - q0) * block_);
      } else {
        const std::int64_t channel = image * shape_.out_channels + plane / outs * order_.depth + c;
        kernels_.spread(input_ + (channel * shape_.y.out + row) * shape_.x.out + begin, 1, end - begin, order_.stride,
                        1, nullptr, to + (begin - q0) * block_);
      }
      if (last > end) std::memset(to + (end - q0) * block_, 0, (last - end) * block_ * sizeof(A));
    }
    return cells;
  }

  const ConvShape& shape_;
  const SpreadOrder order_;
  const ConvSpreadFunctions<T>& kernels_;
  const ConvAffine& affine_;
  const T* input_;
  const A* packed_;
  T* out_;
  const bool channels_last_, past_caches_;
  const std::int64_t block_;                     // elements of a plane's row that a source cell is spread over
  const std::int64_t first_block_, last_block_;  // of a row; block b holds columns b * stride - padding and on
  std::vector<std::int64_t> places_;             // of channels_last, where a pixel has not one channel per result
  std::vector<Phase> phases_;                    // of the rows, by remainder
  std::int64_t furthest_;                        // source row from the one of the same number, behind it
  std::int64_t kept_, blocks_;                   // rows of the source, blocks of a row that are worked on at a time
};

}  // namespace

bool conv_spread_serves(const ConvShape& shape) {
  constexpr std::int64_t kFew = 64;  // pairs of channels: as many products as registers would be half empty otherwise
  return shape.x.dilation == 1 && shape.x.kernel % shape.x.stride == 0 && shape.out_channels > 0 &&
         shape.y.stride * shape.x.stride > 1 && shape.group_channels() * shape.group_out_channels() <= kFew;
}

std::int64_t conv_spread_packed_size(const ConvShape& shape, DType dtype, bool channels_last) {
  return dispatch_floating(dtype, [&](auto tag) {
    const SpreadOrder order = order_of<typename decltype(tag)::type>(shape, channels_last);
    return order.planes * order.plane;
  });
}

void conv_spread_pack(const TensorView& weight, const ConvShape& shape, bool channels_last, void* packed) {
  dispatch_floating(weight.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const SpreadOrder order = order_of<T>(shape, channels_last);
    const std::int64_t outs = shape.group_channels();
    const T* from = weight.ptr<const T>();
    auto* to = static_cast<AccumulatorOf<T>*>(packed);
    for (std::int64_t p = 0; p < order.planes; ++p)
      for (std::int64_t i = 0; i < shape.y.kernel; ++i)
        for (std::int64_t j = 0; j < order.taps_x; ++j)
          for (std::int64_t c = 0; c < order.depth; ++c)
            for (std::int64_t m = 0; m < order.line; ++m) {
              const std::int64_t k = channels_last ? m % order.pixel : p;
              const std::int64_t x = m / order.pixel % order.stride + j * order.stride;
              const std::int64_t channel = k / outs * order.depth + c;
              *to++ = to_float(from[((channel * outs + k % outs) * shape.y.kernel + i) * shape.x.kernel + x]);
            }
  });
}

void conv_spread(const TensorView& input, const void* packed, const ConvShape& shape, bool channels_last,
                 const ConvAffine& affine, const TensorView& out) {
  dispatch_floating(input.dtype, [&](auto tag) {
    Spread<typename decltype(tag)::type>(input, packed, shape, channels_last, affine, out).run();
  });
}

}  // namespace saccade
