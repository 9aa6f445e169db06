// Hierarchical grouping of an image's regions: the two most similar neighbours become one, until one is left (Uijlings,
// van de Sande, Gevers and Smeulders, Selective search for object recognition, IJCV 2013, section 3).
#pragma once

#include <cstdint>
#include <vector>

#include "common/scratch.h"

namespace saccade {

constexpr int kColorBins = 25;

// What similarity is the sum of: bits.
enum : unsigned { kColorLikeness = 1, kTextureLikeness = 2, kSizeLikeness = 4, kFillLikeness = 8 };

// Of each pixel: a colour level 0 .. 255 for each channel, and for each channel and axis a bin of the gradient
// (csrc/kernels/region_features.h), plane after plane.
struct PixelFeatures {
  std::int64_t h, w, channels;
  const std::uint8_t* colors;
  const std::uint8_t* textures;
};

struct Region {
  std::int32_t x1, y1, x2, y2;  // the last ones exclusive
  std::int64_t size;
};

// Regions of a segmentation with their histograms and neighbours; room for those that grouping adds.
class RegionGraph {
 public:
  RegionGraph(const PixelFeatures&, const std::int32_t* labels, std::int64_t count);

  // Groups by the similarities in `likeness` and returns all regions: the first ones, then each new one. Of equally
  // similar pairs the one with the oldest region goes first.
  std::vector<Region> group(unsigned likeness) const;

 private:
  struct Grouping;
  std::int64_t pixels_, count_, channels_, color_bins_, texture_bins_, bins_;
  std::vector<Region> regions_;
  std::vector<std::vector<std::uint32_t>> neighbours_;
  Scratch<std::int32_t> counts_;     // (2 count - 1, bins)
  Scratch<std::int16_t> fractions_;  // the same, of each region's pixels, in units of 1 / 32767
};

}  // namespace saccade
