// Selective search (Uijlings, van de Sande, Gevers and Smeulders, IJCV 2013): boxes of the regions that hierarchical
// grouping passes through, from every combination of a colour space, a scale of the first segmentation and a set of
// similarities.
//
// Colours (csrc/kernels/region_features.h) are levels 0 .. 255. First regions: csrc/ops/felzenszwalb.h on these, in
// units of 1 / 255, with min_size = scale. Texture: Gaussian derivatives of sigma 1 of each channel in 8 directions, in
// 10 bins up to the channel's strongest response. Similarity (csrc/ops/region_grouping.h): intersections of the
// histograms of colour (25 bins a channel) and of texture, each divided by the number of histograms, then
// 1 - (|a| + |b|) / |image| and 1 - (|box of both| - |a| - |b|) / |image|.
//
// Order: the i-th region from the top of the hierarchy of strategy s has the priority u i, u in (0, 1] a random number
// of seed, s and the region; boxes come by ascending priority, each only once, at its first place.
#pragma once

#include <cstdint>
#include <vector>

#include "common/tensor_view.h"
#include "kernels/region_features.h"

namespace saccade {

struct SelectiveSearchOptions {
  std::vector<ColorSpace> spaces;
  std::vector<double> scales;
  std::vector<unsigned> likenesses;  // csrc/ops/region_grouping.h
  double sigma;
  std::int64_t min_side;  // of the boxes that are returned
  std::uint64_t seed;
};

struct Box {
  std::int32_t x, y, width, height;
};

// image: uint8 (h, w, 3), RGB, any strides.
void check_selective_search(const TensorView& image, const SelectiveSearchOptions&);
std::vector<Box> selective_search(const TensorView& image, const SelectiveSearchOptions&);

// The planes of a colour space: uint8 (channels, h, w) in `out`, C-contiguous.
std::int64_t channels_of(ColorSpace);
void color_planes(const TensorView& image, ColorSpace, std::uint8_t* out);

}  // namespace saccade
