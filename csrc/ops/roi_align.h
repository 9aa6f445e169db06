// Bilinear pooling of regions (He et al., Mask R-CNN, 2017, section 3), from one map or from the levels of a pyramid.
//
// features: one or more maps (n, c, h_l, w_l) of one floating dtype, all contiguous or all channels_last; rois (k, 5)
// as in ops/roi.h. Output (k, c, pooled_h, pooled_w), of the same dtype and memory format. Semantics of
// torchvision.ops.roi_align: a bin is the mean of its samples; a sample off the map by more than one cell is zero but
// counted; without `aligned` a region is at least one cell. With several levels, a region goes to level
// floor(canonical_level + log2(sqrt(area) / canonical_scale) + 1e-6), clipped to the levels there are
// (Lin et al., Feature Pyramid Networks, 2017, equation 1); a region whose area is NaN or negative yields zeros.
// Arithmetic in float32 (float64 for float64). Sums are factored by axis, so a result differs from torchvision's by
// rounding.
#pragma once

#include <cstdint>
#include <vector>

#include "common/tensor_view.h"
#include "math/roi.h"

namespace saccade {

struct RoiAlignParams {
  std::int64_t pooled_h, pooled_w, sampling_ratio;
  bool aligned;
  double canonical_scale = 224;
  std::int64_t canonical_level = 4;
};

void check_roi_align(const char* op, const std::vector<TensorView>& features, const TensorView& rois,
                     const std::vector<double>& scales, const RoiAlignParams& params);

RoiSampling sampling_of(const RoiAlignParams& params);

// `op` is the name that errors carry: the operation with one level, or with several.
void roi_align(const char* op, const std::vector<TensorView>& features, const TensorView& rois,
               const std::vector<double>& scales, const RoiAlignParams& params, const TensorView& out);

void check_roi_align_backward(const char* op, const TensorView& grad, const TensorView& rois,
                              const std::vector<double>& scales, const RoiAlignParams& params,
                              const std::vector<TensorView>& grad_features);
// The shapes of a pyramid's maps from n, c, then the height and width of each level.
std::vector<std::vector<std::int64_t>> level_shapes(const std::vector<std::int64_t>& shape, std::size_t levels);

// grad (k, c, pooled_h, pooled_w) of the outputs; grad_features are written, every element. Each element of a gradient
// is summed in one order, that of the regions in space, whatever the number of threads.
void roi_align_backward(const char* op, const TensorView& grad, const TensorView& rois,
                        const std::vector<double>& scales, const RoiAlignParams& params,
                        const std::vector<TensorView>& grad_features);

}  // namespace saccade
