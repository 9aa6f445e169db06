// What Winograd's convolution and the gradient of its weights multiply: the transformed pixels of tiles.
#pragma once

#include "ops/conv_panels.h"
#include "ops/conv_winograd_tiles.h"

namespace saccade {

// Tiles [first, first + count), whole columns of them, of a source in either memory format. cells: planes of
// (panel, count, columns of the panel), as many as the transform makes; what pads a panel is left as it is.
void winograd_cells(const WinogradSource& source, const ConvShape& shape, const WinogradTiles& tiles,
                    const Panels& panels, bool channels_last, std::int64_t group, std::int64_t first,
                    std::int64_t count, float* cells);

}  // namespace saccade
