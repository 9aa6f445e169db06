#include "ops/conv_winograd_cells.h"

#include <vector>

#include "common/parallel.h"
#include "ops/conv_winograd_planes.h"

namespace saccade {

void winograd_cells(const WinogradSource& source, const ConvShape& shape, const WinogradTiles& tiles,
                    const Panels& panels, bool channels_last, std::int64_t group, std::int64_t first,
                    std::int64_t count, float* cells) {
  if (!channels_last) return winograd_planes_to_cells(source, shape, tiles, panels, group, first, count, cells);
  const std::vector<float> zeros(source.group_channels);
  parallel_for(count, conv_grain(source.group_channels * 32), [&](std::int64_t begin, std::int64_t end) {
    const float* pixels[kWinogradMostCells * kWinogradMostCells];
    for (std::int64_t t = begin; t < end; ++t) {
      const WinogradTiles::Place at = tiles.place(first + t);
      for (std::int64_t panel = 0; panel < panels.count(); ++panel) {
        const std::int64_t channel = panels.first(panel);
        const float* image = source.data + at.image * source.height * source.width * source.channels +
                             group * source.group_channels + channel;
        for (int i = 0; i < source.side; ++i)
          for (int j = 0; j < source.side; ++j) {
            const std::int64_t y = at.y - source.above + i * tiles.dy, x = at.x - source.left + j * tiles.dx;
            const bool inside = y >= 0 && y < source.height && x >= 0 && x < source.width;
            pixels[i * source.side + j] = inside ? image + (y * source.width + x) * source.channels : zeros.data();
          }
        source.transform(pixels, panels.columns(panel), cells + channel * count + t * panels.pitch(panel),
                         panels.padded() * count);
      }
    }
  });
}

}  // namespace saccade
