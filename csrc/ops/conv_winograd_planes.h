// The transforms of Winograd's convolution over planes (NCHW): a strip of tiles and a block of channels at a time pass
// through a buffer in L2 where channels are innermost, as the kernels want them.
#pragma once

#include "common/tensor_view.h"
#include "ops/conv_gemm.h"
#include "ops/conv_panels.h"
#include "ops/conv_winograd_tiles.h"

namespace saccade {

// Tiles [first, first + count), whole columns of them. cells: (m + 2)^2 planes of (panel, count, columns of the panel).
void winograd_planes_to_cells(const WinogradSource& source, const ConvShape& shape, const WinogradTiles& tiles,
                              const Panels& panels, std::int64_t group, std::int64_t first, std::int64_t count,
                              float* cells);
// sums: as cells.
void winograd_results_to_planes(const float* sums, const ConvShape& shape, const WinogradTiles& tiles,
                                const Panels& panels, std::int64_t group, std::int64_t first, std::int64_t count,
                                const ConvAffine& affine, float* out);

}  // namespace saccade
