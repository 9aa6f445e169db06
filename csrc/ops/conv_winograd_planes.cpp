#include "ops/conv_winograd_planes.h"

#include <cstring>

#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/channel_block.h"
#include "kernels/conv_winograd.h"

namespace saccade {
namespace {

// Channels of a block; bytes of a buffer, in L2. Blocks of 32 or 64 and buffers half or twice as large take the same
// time within a few per cent.
constexpr std::int64_t kBlock = 16, kStripBytes = 1 << 18;

// Neighbouring tiles: whole lines of columns of tiles, or a part of one line.
struct Strip {
  std::int64_t image, phase, row, lines, column, columns;
  std::int64_t first;  // its first tile
};

// Rows `step` apart and columns of a plane.
struct Window {
  std::int64_t y, step, rows, x, columns;

  // body(place in the plane, place in the window, cells): what is contiguous in both.
  template <class Body>
  void for_each_run(std::int64_t width, const Body& body) const {
    if (rows <= 0 || columns <= 0) return;
    if (step == 1 && columns == width) return body(y * width, 0, rows * width);
    for (std::int64_t r = 0; r < rows; ++r) body((y + r * step) * width + x, r * columns, columns);
  }
};

class Strips {
 public:
  Strips(const ConvShape& shape, const WinogradTiles& tiles, std::int64_t channels)
      : shape_(shape), tiles_(tiles), step_(tiles.m * tiles.dx) {
    const std::int64_t room = kStripBytes / static_cast<std::int64_t>(sizeof(float)) / channels, height = tiles.m + 2;
    columns_ = std::max<std::int64_t>(1, (room / height - 2 * tiles.dx) / step_);
    if (width(tiles.across) * height <= room) columns_ = tiles.across;
    columns_ = std::min(columns_, tiles.across);
    lines_ = columns_ < tiles.across ? 1 : std::max<std::int64_t>(1, (room / width(tiles.across) - 2) / tiles.m);
    lines_ = std::min(lines_, tiles.down);
  }

  // Cells of a channel in the largest strip.
  std::int64_t cells() const { return (lines_ * tiles_.m + 2) * width(columns_); }

  // The strips of columns [begin, end) of tiles.
  template <class Body>
  void for_each(std::int64_t begin, std::int64_t end, const Body& body) const {
    while (begin < end) {
      const std::int64_t line = begin / tiles_.across, column = begin % tiles_.across, row = line % tiles_.down;
      const std::int64_t phase = line / tiles_.down, whole = (end - begin) / tiles_.across;
      const bool part = column > 0 || whole == 0 || columns_ < tiles_.across;
      const std::int64_t lines = part ? 1 : std::min({whole, tiles_.down - row, lines_});
      const std::int64_t columns = part ? std::min({end - begin, tiles_.across - column, columns_}) : tiles_.across;
      body(Strip{phase / tiles_.phases_y, phase % tiles_.phases_y, row, lines, column, columns,
                 begin * tiles_.phases_x});
      begin += lines * columns;
    }
  }

  // body(tile, first row, first column) of every tile; both counted from the first result of the strip, the rows in
  // steps of the dilation.
  template <class Body>
  void for_each_tile(const Strip& strip, const Body& body) const {
    std::int64_t tile = strip.first;
    for (std::int64_t l = 0; l < strip.lines; ++l)
      for (std::int64_t c = 0; c < strip.columns; ++c)
        for (std::int64_t p = 0; p < tiles_.phases_x; ++p) body(tile++, l * tiles_.m, c * step_ + p);
  }

  // What the strip reads of the source, and what it writes. Rows before the first that lies inside are `skipped`.
  Window source(const Strip& strip, const WinogradSource& from, std::int64_t* skipped) const {
    const std::int64_t y = first_row(strip) - from.above, x = strip.column * step_ - from.left;
    const std::int64_t beyond = from.side - tiles_.m;
    *skipped = y < 0 ? (-y + tiles_.dy - 1) / tiles_.dy : 0;
    const std::int64_t rows = std::min(strip.lines * tiles_.m + beyond, rows_below(from.height - y));
    const std::int64_t begin = std::max<std::int64_t>(0, x);
    const std::int64_t end = std::min(from.width, x + strip.columns * step_ + beyond * tiles_.dx);
    return {y + *skipped * tiles_.dy, tiles_.dy, rows - *skipped, begin, end - begin};
  }
  Window results(const Strip& strip) const {
    const std::int64_t y = first_row(strip), x = strip.column * step_;
    return {y, tiles_.dy, std::min(strip.lines * tiles_.m, rows_below(shape_.y.out - y)), x,
            std::min(shape_.x.out - x, strip.columns * step_)};
  }

 private:
  std::int64_t width(std::int64_t columns) const {
    return std::min(std::max(shape_.x.in, shape_.x.out), columns * step_ + 2 * tiles_.dx);
  }
  std::int64_t first_row(const Strip& strip) const { return strip.phase + strip.row * tiles_.m * tiles_.dy; }
  std::int64_t rows_below(std::int64_t height) const { return height <= 0 ? 0 : (height + tiles_.dy - 1) / tiles_.dy; }

  const ConvShape& shape_;
  const WinogradTiles& tiles_;
  const std::int64_t step_;  // results of a column of tiles
  std::int64_t lines_, columns_;
};

// Shares (block of channels, column of tiles) pairs among the threads: body(buffers, block, strip).
template <class MakeBuffers, class Body>
void for_each_strip(const Strips& strips, const WinogradTiles& tiles, std::int64_t first, std::int64_t count,
                    std::int64_t blocks, std::int64_t channels, const MakeBuffers& make_buffers, const Body& body) {
  const std::int64_t columns = count / tiles.phases_x, offset = first / tiles.phases_x;
  parallel_for(blocks * columns, conv_grain(tiles.phases_x * channels * 32), [&](std::int64_t begin, std::int64_t end) {
    const auto buffers = make_buffers();
    while (begin < end) {
      const std::int64_t block = begin / columns, from = begin % columns;
      const std::int64_t to = std::min(columns, from + end - begin);
      strips.for_each(offset + from, offset + to, [&](const Strip& strip) { body(buffers, block, strip); });
      begin += to - from;
    }
  });
}

}  // namespace

void winograd_planes_to_cells(const WinogradSource& source, const ConvShape& shape, const WinogradTiles& tiles,
                              const Panels& panels, std::int64_t group, std::int64_t first, std::int64_t count,
                              float* cells) {
  const std::int64_t depth = source.group_channels, block = std::min({kBlock, depth, panels.most});
  const std::int64_t blocks = (depth + block - 1) / block, area = source.height * source.width;
  const Strips strips(shape, tiles, block);
  const auto pack = channel_block_kernels().f32.pack;
  float zeros[kBlock] = {};
  for_each_strip(
      strips, tiles, first, count, blocks, block, [&] { return Scratch<float>(strips.cells() * block); },
      [&](const Scratch<float>& buffer, std::int64_t b, const Strip& strip) {
        const std::int64_t channels = std::min(block, depth - b * block), panel = b * block / panels.most;
        const float* planes = source.data + (strip.image * source.channels + group * depth + b * block) * area;
        std::int64_t skipped;
        const Window window = strips.source(strip, source, &skipped);
        window.for_each_run(source.width, [&](std::int64_t place, std::int64_t at, std::int64_t length) {
          pack(planes + place, area, channels, length, buffer.data() + at * block, block);
        });
        const std::int64_t x0 = strip.column * tiles.m * tiles.dx - source.left - window.x;
        float* to = cells + panels.first(panel) * count + b * block - panels.first(panel);
        const float* pixels[kWinogradMostCells * kWinogradMostCells];
        strips.for_each_tile(strip, [&](std::int64_t tile, std::int64_t row, std::int64_t column) {
          const int n = source.side;
          for (int i = 0; i < n; ++i) {
            const std::int64_t y = row + i - skipped;
            const bool inside = y >= 0 && y < window.rows;
            for (int j = 0; j < n; ++j) {
              const std::int64_t x = x0 + column + j * tiles.dx;
              pixels[i * n + j] =
                  inside && x >= 0 && x < window.columns ? buffer.data() + (y * window.columns + x) * block : zeros;
            }
          }
          source.transform(pixels, channels, to + (tile - first) * panels.pitch(panel), panels.padded() * count);
        });
      });
}

void winograd_results_to_planes(const float* sums, const ConvShape& shape, const WinogradTiles& tiles,
                                const Panels& panels, std::int64_t group, std::int64_t first, std::int64_t count,
                                const ConvAffine& affine, float* out) {
  const std::int64_t most = std::min(panels.most, panels.padded()), area = shape.y.out * shape.x.out;
  const Strips strips(shape, tiles, most);
  const auto transform = winograd_functions(tiles.m).results;
  const auto& block = channel_block_kernels().f32;
  const float* residual = affine.residual ? affine.residual->ptr<const float>() : nullptr;
  struct Buffers {
    Scratch<float> results, residual;
  };
  for_each_strip(
      strips, tiles, first, count, panels.count(), most,
      [&] {
        const std::int64_t size = strips.cells() * most;
        return Buffers{Scratch<float>(size), Scratch<float>(residual ? size : 0)};
      },
      [&](const Buffers& buffers, std::int64_t panel, const Strip& strip) {
        const std::int64_t columns = panels.columns(panel), pitch = panels.pitch(panel);
        const std::int64_t channel = group * shape.group_out_channels() + panels.first(panel);
        const std::int64_t planes = (strip.image * shape.out_channels + channel) * area;
        const Window window = strips.results(strip);
        if (residual)
          window.for_each_run(shape.x.out, [&](std::int64_t place, std::int64_t at, std::int64_t length) {
            block.pack(residual + planes + place, area, columns, length, buffers.residual.data() + at * most, most);
          });
        float* to[kWinogradMostCells * kWinogradMostCells];
        const float* from[kWinogradMostCells * kWinogradMostCells];
        WinogradResults tile = {nullptr,
                                panels.padded() * count,
                                columns,
                                static_cast<const float*>(affine.scale) + channel,
                                static_cast<const float*>(affine.shift) + channel,
                                residual ? from : nullptr,
                                to,
                                affine.activation};
        strips.for_each_tile(strip, [&](std::int64_t t, std::int64_t row, std::int64_t column) {
          for (int i = 0; i < tiles.m; ++i)
            for (int j = 0; j < tiles.m; ++j) {
              const std::int64_t y = row + i, x = column + j * tiles.dx, at = (y * window.columns + x) * most;
              const bool inside = y < window.rows && x < window.columns;
              to[i * tiles.m + j] = inside ? buffers.results.data() + at : nullptr;
              from[i * tiles.m + j] = inside && residual ? buffers.residual.data() + at : nullptr;
            }
          tile.products = sums + panels.first(panel) * count + (t - first) * pitch;
          transform(tile);
        });
        window.for_each_run(shape.x.out, [&](std::int64_t place, std::int64_t at, std::int64_t length) {
          block.unpack(buffers.results.data() + at * most, most, columns, length, out + planes + place, area);
        });
      });
}

}  // namespace saccade
