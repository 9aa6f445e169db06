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

template <class V, int... I>
SACCADE_HD auto fold(V v, std::integer_sequence<int, I...>) {
  constexpr int kHalf = sizeof...(I);
  return __builtin_shufflevector(v, v, I...) + __builtin_shufflevector(v, v, (I + kHalf)...);
}
template <class A, int N>
SACCADE_HD A sum_of(Vec<A, N> v) {
  if constexpr (N == 2) {
    return v[0] + v[1];
  } else {
    return sum_of<A, N / 2>(fold(v, std::make_integer_sequence<int, N / 2>{}));
  }
}

// A bin is one register wide: a row costs a load and an addition, the columns' weights come in at the end. Lanes beside
// the bin are cells of others, which may be NaN, so they are dropped, not weighted with zero.
template <int N, class S, class T>
SACCADE_HD void narrow_bins(const PsWindow<S>& map, const PsTables<Accumulator<T>>& tables, const PsNarrowBin* bins,
                            std::int64_t count, T* out, std::int64_t out_stride) {
  using A = Accumulator<T>;
  using V = Vec<A, N>;
  using I = Mask<V>;
  using U = Vec<std::make_unsigned_t<Element<I>>, N>;
  for (std::int64_t b = 0; b < count; ++b) {
    const PsNarrowBin& bin = bins[b];
    const PsColumns& columns = tables.columns[bin.columns];
    const V weight = load<V>(tables.column_weight + bin.columns * kPsLanes);
    const I used = (U)(iota<I>() - columns.lane) < U{} + static_cast<Element<U>>(columns.count);
    const S* plane = map.data + bin.plane * map.plane_stride + (columns.first - map.first_column);
    for (std::int64_t c = 0; c < map.planes; ++c, plane += map.plane_step) {
      V sum = {};
      for (std::int32_t r = bin.rows; r < bin.rows + bin.row_count; ++r)
        sum = fma(splat<V>(tables.row_weight[r]), load_as<A, N>(plane + map.row_offset[tables.row[r]]), sum);
      out[bin.out + c * out_stride] = from_float<T>(sum_of<A, N>(select(used, sum * weight, V{})));
    }
  }
}
template <class S, class T>
void narrow(const PsWindow<S>& map, const PsTables<Accumulator<T>>& tables, const PsNarrowBin* bins, std::int64_t count,
            bool wide, T* out, std::int64_t out_stride) {
  if (wide) return narrow_bins<kPsLanes>(map, tables, bins, count, out, out_stride);
  narrow_bins<kPsLanes / 2>(map, tables, bins, count, out, out_stride);
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
    {forward<Float16>, narrow<Float16, Float16>, narrow<Accumulator<Float16>, Float16>, backward<Float16>},
    {forward<BFloat16>, narrow<BFloat16, BFloat16>, narrow<Accumulator<BFloat16>, BFloat16>, backward<BFloat16>},
    {forward<float>, narrow<float, float>, narrow<Accumulator<float>, float>, backward<float>},
    {forward<double>, narrow<double, double>, narrow<Accumulator<double>, double>, backward<double>},
};

}  // namespace saccade::SACCADE_ISA
