// Gradients and orientations as scikit-image's, in double. No angle is computed: with the gradient turned into the
// upper half plane, its bin is the number of lower edges of bins that it is to the left of, a cross product each.
// Where one of them is too close to zero for its sign to be certain, the caller decides by the angle.
// 8 edges are 32 operations for 8 pixels; the arc tangent in double would be 60 and more.
#include "kernels/hog.h"

#include "isa/root.h"

namespace saccade::SACCADE_ISA {
namespace {

using D = Vec<double>;
using I = Vec<std::int64_t>;
constexpr int kN = kLanes<double>;

SACCADE_HD D magnitude_of(D v) { return max<D>(v, -v); }

template <class T>
SACCADE_HD D difference(const T* a, const T* b) {
  // Floats are subtracted as floats: the rounding is part of the result.
  if constexpr (sizeof(T) == 1)
    return load_as<double, kN>(a) - load_as<double, kN>(b);
  else
    return __builtin_convertvector(load<Vec<T, kN>>(a) - load<Vec<T, kN>>(b), D);
}

// As the reference compares channels: in the image's own type.
template <class T>
SACCADE_HD D length_of(D dx, D dy) {
  const D length = root<D>(dx * dx + dy * dy);
  if constexpr (sizeof(T) == 4)
    return __builtin_convertvector(__builtin_convertvector(length, Vec<float, kN>), D);
  else
    return length;
}

template <class T>
SACCADE_HD void gradient_at(const HogGradientRow& r, int c, std::int64_t x, D& dx, D& dy) {
  const T* row = static_cast<const T*>(r.rows[c]) + x;
  dx = difference(row + 1, row - 1);
  dy = r.below == r.above ? D{} : difference(row + r.below, row + r.above);
}

template <class T>
SACCADE_HD void pixels(const HogGradientRow& r, std::int64_t x) {
  D dx, dy;
  gradient_at<T>(r, 0, x, dx, dy);
  I unsure{};
  if (r.channels > 1) {
    D largest = length_of<T>(dx, dy);
    for (int c = 1; c < r.channels; ++c) {
      D other_x, other_y;
      gradient_at<T>(r, c, x, other_x, other_y);
      const D length = length_of<T>(other_x, other_y);
      if constexpr (sizeof(T) > 1)
        unsure |=
            ~(magnitude_of(length - largest) > largest * 1e-15) & ((other_x != dx) | (other_y != dy)) & (length != D{});
      const I more = length > largest;
      dx = select<D>(more, other_x, dx);
      dy = select<D>(more, other_y, dy);
      largest = select<D>(more, length, largest);
    }
  }
  const D length = root<D>(dx * dx + dy * dy);
  const I down = (dy < D{}) | ((dy == D{}) & (dx < D{}));
  dx = select<D>(down, -dx, dx);
  dy = select<D>(down, -dy, dy);
  const D tolerance = length * 1e-14;
  I bin{};
  unsure |= (dy != D{}) & ~(dy > tolerance);
  for (int k = 0; k + 1 < r.bins; ++k) {
    const D cross = dy * splat<D>(r.cosines[k]) - dx * splat<D>(r.sines[k]);
    bin -= cross >= D{};
    unsure |= ~(magnitude_of(cross) > tolerance);
  }
  unsure &= ~(length == D{});  // nothing to vote with
  unsure |= ~(length < splat<D>(1e150)) | ((length < splat<D>(1e-140)) & ~((dx == D{}) & (dy == D{})));
  bin = select<I>(unsure, I{} + kHogUnsure, bin);
  store<D>(r.magnitude + x, length);
  const auto narrow = __builtin_convertvector(bin, Vec<std::int32_t, kN>);
  std::memcpy(r.bin + x, &narrow, sizeof(narrow));
}

template <class T>
void gradients(const HogGradientRow& r) {
  for (std::int64_t x = 1; x + kN < r.width; x += kN) pixels<T>(r, x);
  pixels<T>(r, r.width - 1 - kN);
}

SACCADE_HD D tail(const double* p, std::int64_t n) { return n >= kN ? load<D>(p) : load_partial<D>(p, n); }

template <class Function>
SACCADE_HD void for_block(const HogBlock& b, const Function& function) {
  for (std::int64_t r = 0; r < b.rows; ++r)
    for (std::int64_t i = 0; i < b.run; i += kN) {
      double* out = b.out + r * b.run + i;
      if (b.run - i >= kN)
        store<D>(out, function(b.values + r * b.stride + i, out, std::int64_t{kN}));
      else
        store_partial<D>(out, function(b.values + r * b.stride + i, out, b.run - i), b.run - i);
    }
}

void normalise(const HogBlock& b) {
  D sum{};
  const bool squares = b.norm == HogNorm::kL2 || b.norm == HogNorm::kL2Hys;
  for (std::int64_t r = 0; r < b.rows; ++r)
    for (std::int64_t i = 0; i < b.run; i += kN) {
      const D value = tail(b.values + r * b.stride + i, b.run - i);
      sum += squares ? value * value : magnitude_of(value);
    }
  const double total = reduce_add(sum);
  const D length = splat<D>(squares ? __builtin_sqrt(total + kHogEps * kHogEps) : total + kHogEps);
  if (b.norm == HogNorm::kL1Sqrt)
    return for_block(b, [&](const double* v, double*, std::int64_t n) { return root<D>(tail(v, n) / length); });
  if (b.norm != HogNorm::kL2Hys)
    return for_block(b, [&](const double* v, double*, std::int64_t n) { return tail(v, n) / length; });
  const D most = splat<D>(kHogMost);
  sum = D{};
  for_block(b, [&](const double* v, double*, std::int64_t n) {
    const D value = tail(v, n) / length;
    const D cut = select<D>(value > most, most, value);  // NaN stays
    sum += cut * cut;
    return cut;
  });
  const D again = splat<D>(__builtin_sqrt(reduce_add(sum) + kHogEps * kHogEps));
  for_block(b, [&](const double*, double* out, std::int64_t n) { return tail(out, n) / again; });
}

}  // namespace

const HogKernels hog_kernels = {gradients<std::uint8_t>, gradients<float>, gradients<double>, normalise};

}  // namespace saccade::SACCADE_ISA
