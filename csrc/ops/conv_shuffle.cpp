#include "ops/conv_shuffle.h"

#include <cstring>

#include "common/dispatch.h"
#include "common/scratch.h"
#include "kernels/channel_block.h"
#include "kernels/conv_shuffle.h"
#include "math/half.h"
#include "ops/conv_panels.h"

namespace saccade {
namespace {

template <class T>
using AccumulatorOf = decltype(to_float(T{}));

// The blocks of one axis: block b holds results b * stride - padding and on, and reads `taps` cells, the last one is b.
struct Blocks {
  explicit Blocks(const WindowAxis& axis)
      : stride(axis.stride),
        taps(axis.kernel / axis.stride),
        padding(axis.padding),
        results(axis.in),
        first(axis.padding / axis.stride),
        last((axis.in - 1 + axis.padding) / axis.stride + 1) {}

  std::int64_t count() const { return last - first; }
  // Where block b begins, and which of its results exist.
  std::int64_t start(std::int64_t b) const { return b * stride - padding; }
  std::int64_t begin(std::int64_t b) const { return std::max<std::int64_t>(0, -start(b)); }
  std::int64_t end(std::int64_t b) const { return std::min(stride, results - start(b)); }
  bool has(std::int64_t b, std::int64_t f) const { return f >= begin(b) && f < end(b); }

  std::int64_t stride, taps, padding, results, first, last;
};

// The columns of the product are the results of one row of a block: in channels_last column by column of it their
// channels, in planes channel by channel their columns. Depth: row by row, column by column of the cells their
// channels. Packed: group by group, row by row of the block, panel by panel.
template <class T>
struct ShuffleOrder {
  using A = AccumulatorOf<T>;

  explicit ShuffleOrder(const ConvShape& shape)
      : y(shape.y),
        x(shape.x),
        channels(shape.group_out_channels()),
        outs(shape.group_channels()),
        run(x.taps * channels),
        depth(y.taps * run),
        panels(panels_of<T>(x.stride * outs)) {}

  std::int64_t packed(std::int64_t group, std::int64_t row, std::int64_t panel) const {
    return ((group * y.stride + row) * panels.padded() + panels.first(panel)) * depth;
  }

  Blocks y, x;
  std::int64_t channels, outs;  // of a group: of the source, of the result
  std::int64_t run, depth;      // neighbouring cells in a row of the source, products of a sum
  Panels panels;
};

template <class T>
class Shuffle {
  using A = AccumulatorOf<T>;

 public:
  Shuffle(const TensorView& input, const void* packed, const ConvShape& shape, bool channels_last,
          const ConvAffine& affine, const TensorView& out)
      : shape_(shape),
        order_(shape),
        kernels_(conv_gemm_kernels().get<A>()),
        affine_(affine),
        input_(input.ptr<const T>()),
        packed_(static_cast<const A*>(packed)),
        out_(out.ptr<T>()),
        channels_last_(channels_last),
        line_((order_.x.count() + order_.x.taps - 1) * order_.channels),
        scale_(shape.channels * order_.x.stride),
        shift_(shape.channels * order_.x.stride) {
    for (std::int64_t n = 0; n < shape.channels * order_.x.stride; ++n) {
      const std::int64_t group = n / (order_.outs * order_.x.stride), column = n % (order_.outs * order_.x.stride);
      const std::int64_t k = channels_last ? column % order_.outs : column / order_.x.stride;
      scale_[n] = static_cast<const A*>(affine.scale)[group * order_.outs + k];
      shift_[n] = static_cast<const A*>(affine.shift)[group * order_.outs + k];
    }
    // As many rows of blocks as keep their cells in L2 beside a panel, and their tiles in L1, but enough for some
    // tiles.
    constexpr std::int64_t kCells = 256 << 10, kFewest = 8 * kConvRows, kMost = 64 * kConvRows;
    const std::int64_t fit = kCells / static_cast<std::int64_t>(line_ * sizeof(A) + 1) - (order_.y.taps - 1);
    const std::int64_t rows =
        std::max(std::min(fit, kMost / order_.x.count()), (kFewest + order_.x.count() - 1) / order_.x.count());
    pieces_ = (order_.y.count() + rows - 1) / rows;
    rows_ = (order_.y.count() + pieces_ - 1) / pieces_;
  }

  void run() const {
    const std::int64_t units = shape_.images * shape_.groups * pieces_, threads = omp_get_max_threads();
    if (units == 0) return;
    const std::int64_t products = order_.y.stride * order_.panels.count();
    const std::int64_t parts = threads == 1 ? 1 : std::min(products, (2 * threads + units - 1) / units);
    const std::int64_t work = rows_ * order_.x.count() * order_.depth * order_.panels.total * order_.y.stride / parts;
    parallel_for(units * parts, conv_grain(work), [&](std::int64_t begin, std::int64_t end) {
      Buffers buffers(*this);
      for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t part = unit % parts, piece = unit / parts % pieces_, plane = unit / parts / pieces_;
        const std::int64_t group = plane % shape_.groups, image = plane / shape_.groups;
        const std::int64_t b0 = order_.y.first + order_.y.count() * piece / pieces_;
        const std::int64_t b1 = order_.y.first + order_.y.count() * (piece + 1) / pieces_;
        copy_cells(image, group, b0, b1, buffers.cells.data());
        std::int64_t first = 0, last = 0;  // the blocks whose tiles are there
        buffers.tiles.clear();
        for (std::int64_t i = products * part / parts; i < products * (part + 1) / parts; ++i) {
          const std::int64_t f = i / order_.panels.count();
          const std::int64_t begin = b0 + (order_.y.has(b0, f) ? 0 : 1), end = b1 - (order_.y.has(b1 - 1, f) ? 0 : 1);
          if (begin != first || end != last)
            find_tiles(image, group, begin, end, buffers.cells.data() + (begin - b0) * line_, buffers.tiles);
          first = begin, last = end;
          multiply(group, f, i % order_.panels.count(), buffers);
        }
      }
    });
  }

 private:
  bool single() const { return order_.depth <= ConvDepth::kBlock; }

  // A tile of neighbouring blocks: where result 0 of row 0 of each one goes, which columns exist, and its cells.
  struct Tile {
    std::int64_t count, places[kConvRows], begin[kConvRows], end[kConvRows];
    const A* cells[kConvRows];
    bool whole;  // whether all columns exist
  };
  struct Buffers {
    explicit Buffers(const Shuffle& of)
        : cells((of.rows_ + of.order_.y.taps - 1) * of.line_),
          sums((of.single() ? kConvRows : of.rows_ * of.order_.x.count()) * of.order_.panels.most),
          values(kConvRows * of.order_.panels.most),
          rows(kConvRows * of.order_.y.taps) {}
    Scratch<A> cells, sums, values;
    Scratch<const A*> rows;
    std::vector<Tile> tiles;
  };

  // The rows of the source that blocks [b0, b1) read, channels innermost, zeros around it.
  void copy_cells(std::int64_t image, std::int64_t group, std::int64_t b0, std::int64_t b1, A* cells) const {
    const std::int64_t height = shape_.y.out, width = shape_.x.out, channels = order_.channels;
    const std::int64_t left = order_.x.first - order_.x.taps + 1;  // the column that a line begins with
    const std::int64_t begin = std::max<std::int64_t>(0, left), end = std::min(width, order_.x.last);
    for (std::int64_t row = b0 - order_.y.taps + 1; row < b1; ++row, cells += line_) {
      if (row < 0 || row >= height || begin >= end) {
        std::memset(cells, 0, line_ * sizeof(A));
        continue;
      }
      A* const to = cells + (begin - left) * channels;
      std::memset(cells, 0, (begin - left) * channels * sizeof(A));
      std::memset(to + (end - begin) * channels, 0, (order_.x.last - end) * channels * sizeof(A));
      if (!channels_last_) {
        const T* planes = input_ + ((image * shape_.groups + group) * channels * height + row) * width + begin;
        channel_block_kernels().get<T>().pack(planes, height * width, channels, end - begin, to, channels);
      } else {
        const T* pixels = input_ + ((image * height + row) * width + begin) * shape_.out_channels + group * channels;
        const std::int64_t pieces = shape_.groups == 1 ? 1 : end - begin, length = (end - begin) * channels / pieces;
        for (std::int64_t i = 0; i < pieces; ++i)
          conv_gemm_kernels().get<T>().copy_pixel(pixels + i * shape_.out_channels, 1, length, to + i * length);
      }
    }
  }

  // The tiles of blocks [b0, b1), whose first cells begin at `cells`.
  void find_tiles(std::int64_t image, std::int64_t group, std::int64_t b0, std::int64_t b1, const A* cells,
                  std::vector<Tile>& tiles) const {
    const std::int64_t height = shape_.y.in, width = shape_.x.in, channel = group * order_.outs;
    tiles.clear();
    std::int64_t b = b0, q = order_.x.first;
    for_each_tile(0, (b1 - b0) * order_.x.count(), [&](std::int64_t, std::int64_t count) {
      Tile tile;
      tile.count = count, tile.whole = true;
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t y = order_.y.start(b), x = order_.x.start(q);
        tile.cells[i] = cells + (b - b0) * line_ + (q - order_.x.first) * order_.channels;
        tile.places[i] = channels_last_ ? ((image * height + y) * width + x) * shape_.channels + channel
                                        : ((image * shape_.channels + channel) * height + y) * width + x;
        tile.begin[i] = order_.x.begin(q), tile.end[i] = order_.x.end(q);
        tile.whole = tile.whole && tile.end[i] - tile.begin[i] == order_.x.stride;
        if (++q == order_.x.last) q = order_.x.first, ++b;
      }
      tiles.push_back(tile);
    });
  }

  // Row f of the blocks of the tiles: one panel of its columns.
  void multiply(std::int64_t group, std::int64_t f, std::int64_t panel, Buffers& buffers) const {
    if (single()) return multiply_block(group, f, panel, 0, order_.y.taps, 0, order_.run, 0, buffers);
    std::int64_t offset = 0;
    for (std::int64_t t = 0; t < order_.y.taps; ++t)
      for (std::int64_t k = 0; k < order_.run; k += ConvDepth::kBlock) {
        const std::int64_t length = std::min(ConvDepth::kBlock, order_.run - k);
        multiply_block(group, f, panel, t, 1, k, length, offset, buffers);
        offset += length;
      }
  }

  // A block of the depth: of `taps` rows of cells from row t on, elements [k, k + length) of a run.
  void multiply_block(std::int64_t group, std::int64_t f, std::int64_t panel, std::int64_t t, std::int64_t taps,
                      std::int64_t k, std::int64_t length, std::int64_t offset, Buffers& buffers) const {
    const std::int64_t pitch = order_.panels.pitch(panel);
    const bool last = offset + taps * length == order_.depth;
    ConvTile<A> product = {buffers.rows.data(),
                           0,
                           taps,
                           length,
                           1,
                           packed_ + order_.packed(group, f, panel) + offset * pitch,
                           pitch,
                           offset > 0,
                           buffers.sums.data()};
    for (const Tile& tile : buffers.tiles) {
      for (std::int64_t i = 0; i < taps; ++i)
        for (std::int64_t j = 0; j < tile.count; ++j)
          buffers.rows[i * tile.count + j] = tile.cells[j] + (t + i) * line_ + k;
      product.count = tile.count;
      if (last) {
        finish(group, f, panel, tile, product, buffers);
      } else {
        kernels_.multiply(product);
      }
      if (!single()) product.sums += tile.count * pitch;
    }
  }

  // The last block of the depth: the sums, and the results that they become.
  void finish(std::int64_t group, std::int64_t f, std::int64_t panel, const Tile& tile, ConvTile<A>& product,
              Buffers& buffers) const {
    const std::int64_t first = order_.panels.first(panel), columns = order_.panels.columns(panel);
    const std::int64_t channel = group * order_.panels.total + first;
    T* const target = out_ + f * shape_.x.in * (channels_last_ ? shape_.channels : 1);
    // In channels_last all columns are neighbours in memory, where groups do not part them.
    const bool direct = std::is_same_v<T, A> && channels_last_ && shape_.groups == 1 && tile.whole;
    A* out[kConvRows];
    for (std::int64_t i = 0; i < tile.count; ++i) {
      out[i] = buffers.values.data() + i * product.pitch;
      if constexpr (std::is_same_v<T, A>)
        if (direct) out[i] = target + tile.places[i] + first;
    }
    const ConvFinish<A> results = {product.sums,
                                   product.pitch,
                                   tile.count,
                                   columns,
                                   scale_.data() + channel,
                                   shift_.data() + channel,
                                   nullptr,
                                   out,
                                   nullptr,
                                   affine_.activation,
                                   direct};
    if (affine_.activation == Activation::kNone || affine_.activation == Activation::kRelu) {
      product.finish = &results;
      kernels_.multiply(product);
      product.finish = nullptr;
    } else {
      kernels_.multiply(product);
      kernels_.finish_rows(results);
    }
    if (direct) return;
    conv_shuffle_kernels().get<T>().place({buffers.values.data(), product.pitch, tile.count, first, columns,
                                           channels_last_ ? order_.outs : order_.x.stride,
                                           channels_last_ ? shape_.channels : shape_.y.in * shape_.x.in,
                                           !channels_last_, tile.places, tile.begin, tile.end, target});
  }

  const ConvShape& shape_;
  const ShuffleOrder<T> order_;
  const ConvGemmFunctions<A>& kernels_;
  const ConvAffine& affine_;
  const T* input_;
  const A* packed_;
  T* out_;
  const bool channels_last_;
  const std::int64_t line_;  // elements of a row of cells
  const Scratch<A> scale_, shift_;
  std::int64_t pieces_, rows_;  // pieces of the rows of blocks, rows of the largest
};

}  // namespace

bool conv_shuffle_serves(const ConvShape& shape) {
  const auto whole = [](const WindowAxis& axis) { return axis.dilation == 1 && axis.kernel % axis.stride == 0; };
  return whole(shape.y) && whole(shape.x) && shape.y.stride * shape.x.stride > 1 && shape.out_channels > 0;
}

std::int64_t conv_shuffle_packed_size(const ConvShape& shape, DType dtype) {
  return dispatch_floating(
      dtype, [&](auto tag) { return ShuffleOrder<typename decltype(tag)::type>(shape).packed(shape.groups, 0, 0); });
}

void conv_shuffle_pack(const TensorView& weight, const ConvShape& shape, bool channels_last, void* packed) {
  dispatch_floating(weight.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const ShuffleOrder<T> order(shape);
    const std::int64_t rows = shape.groups * order.y.stride, area = shape.taps();
    parallel_for(rows * order.panels.count(), 1, [&](std::int64_t begin, std::int64_t end) {
      std::int64_t places[kConvMostColumns];
      for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t panel = unit % order.panels.count(), f = unit / order.panels.count() % order.y.stride;
        const std::int64_t group = unit / order.panels.count() / order.y.stride;
        const std::int64_t columns = order.panels.columns(panel), pitch = order.panels.pitch(panel);
        for (std::int64_t j = 0; j < columns; ++j) {
          const std::int64_t n = order.panels.first(panel) + j;
          const std::int64_t k = channels_last ? n % order.outs : n / order.x.stride;
          places[j] = k * area + (channels_last ? n / order.outs : n % order.x.stride);
        }
        auto* to = static_cast<AccumulatorOf<T>*>(packed) + order.packed(group, f, panel);
        for (std::int64_t i = order.y.taps - 1; i >= 0; --i)
          for (std::int64_t j = order.x.taps - 1; j >= 0; --j)
            for (std::int64_t c = 0; c < order.channels; ++c, to += pitch) {
              const T* from = weight.ptr<const T>() + (group * order.channels + c) * order.outs * area +
                              (i * order.y.stride + f) * shape.x.kernel + j * order.x.stride;
              for (std::int64_t n = 0; n < columns; ++n) to[n] = to_float(from[places[n]]);
              std::fill(to + columns, to + pitch, AccumulatorOf<T>(0));
            }
      }
    });
  });
}

void conv_shuffle(const TensorView& input, const void* packed, const ConvShape& shape, bool channels_last,
                  const ConvAffine& affine, const TensorView& out) {
  dispatch_floating(input.dtype, [&](auto tag) {
    Shuffle<typename decltype(tag)::type>(input, packed, shape, channels_last, affine, out).run();
  });
}

}  // namespace saccade
