// Position-sensitive pooling of regions (Dai et al., R-FCN, 2016, section 2): ps_roi_align and ps_roi_pool.
//
// input (n, c * pooled_h * pooled_w, h, w), contiguous or channels_last; rois (k, 5) as in ops/roi.h. Output
// (k, c, pooled_h, pooled_w) in the same memory format: bin (i, j) of channel c reads channel (c * pooled_h + i) *
// pooled_w + j. ps_roi_align averages bilinear samples as roi_align does when aligned; ps_roi_pool averages whole
// cells, coordinates rounded half away from zero. Semantics of torchvision, its omission of the map's last row and
// column in ps_roi_pool included; but an empty region yields zeros, where torchvision's ps_roi_align divides zero by
// zero.
#pragma once

#include <cstdint>

#include "common/tensor_view.h"
#include "math/roi.h"

namespace saccade {

struct PsRoiParams {
  std::int64_t pooled_h, pooled_w;
  double spatial_scale;
  bool whole_cells;  // ps_roi_pool
  std::int64_t sampling_ratio = -1;
  const char* op() const { return whole_cells ? "ps_roi_pool" : "ps_roi_align"; }
};

RoiSampling sampling_of(const PsRoiParams& params);
void check_ps_roi(const TensorView& input, const TensorView& rois, const PsRoiParams& params);

void ps_roi(const TensorView& input, const TensorView& rois, const PsRoiParams& params, const TensorView& out);

void check_ps_roi_backward(const TensorView& grad, const TensorView& rois, const PsRoiParams& params,
                           const TensorView& grad_input);

// grad in the memory format of grad_input, every element of which is written, summed in one order whatever the threads.
void ps_roi_backward(const TensorView& grad, const TensorView& rois, const PsRoiParams& params,
                     const TensorView& grad_input);

}  // namespace saccade
