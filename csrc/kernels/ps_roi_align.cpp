#include "kernels/ps_roi_align.h"

#include "isa/simd.h"

namespace saccade::SACCADE_ISA {
namespace {

template <class T>
void forward(const MapBlock<const T>& map, const RoiTaps<Accumulator<T>>& roi, const PsBin& bin, T* out,
             std::int64_t out_stride) {
  using A = Accumulator<T>;
  for (std::int64_t c = 0; c < bin.channels; ++c) {
    const T* plane = map.data + c * bin.channel_stride;
    A sum = A(0);
    for (std::int32_t i = roi.y.begin[bin.p]; i < roi.y.begin[bin.p + 1]; ++i) {
      const T* row = plane + (roi.y.cell[i] - map.first_row) * map.row_stride;
      A along = A(0);
      for (std::int32_t j = roi.x.begin[bin.q]; j < roi.x.begin[bin.q + 1]; ++j)
        along += roi.x.weight[j] * to_float(row[(roi.columns[roi.x.cell[j]] - map.first_column) * map.cell_stride]);
      sum += roi.y.weight[i] * along;
    }
    out[c * out_stride] = from_float<T>(sum);
  }
}

template <class T>
void backward(const MapBlock<Accumulator<T>>& map, const RoiTaps<Accumulator<T>>& roi, const PsBin& bin, const T* grad,
              std::int64_t grad_stride) {
  using A = Accumulator<T>;
  for (std::int32_t i = roi.y.begin[bin.p]; i < roi.y.begin[bin.p + 1]; ++i) {
    if (roi.y.cell[i] < map.first_row || roi.y.cell[i] >= map.end_row) continue;
    A* row = map.data + (roi.y.cell[i] - map.first_row) * map.row_stride;
    for (std::int64_t c = 0; c < bin.channels; ++c) {
      const A share = roi.y.weight[i] * to_float(grad[c * grad_stride]);
      for (std::int32_t j = roi.x.begin[bin.q]; j < roi.x.begin[bin.q + 1]; ++j)
        row[c * bin.channel_stride + (roi.columns[roi.x.cell[j]] - map.first_column) * map.cell_stride] +=
            roi.x.weight[j] * share;
    }
  }
}

}  // namespace

const PsRoiAlignKernels ps_roi_align_kernels = {
    {forward<Float16>, backward<Float16>},
    {forward<BFloat16>, backward<BFloat16>},
    {forward<float>, backward<float>},
    {forward<double>, backward<double>},
};

}  // namespace saccade::SACCADE_ISA
