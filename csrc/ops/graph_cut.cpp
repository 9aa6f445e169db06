#include "ops/graph_cut.h"

#include <cmath>
#include <type_traits>

#include "ops/checks.h"
#include "ops/grid_cut.h"

namespace saccade {
namespace {

constexpr const char* kOp = "graph_cut";
constexpr std::int64_t kIntegerLimit = std::int64_t{1} << 30;

struct Grid {
  std::int64_t depth, height, width, pixels;
  explicit Grid(const TensorView& unary)
      : depth(unary.ndim == 4 ? unary.size(1) : 1),
        height(unary.size(-2)),
        width(unary.size(-1)),
        pixels(depth * height * width) {}
};

// Weights of one direction: one number, or a plane.
template <class C>
struct Weights {
  const C* at;
  bool scalar;
  C operator()(std::int64_t i) const { return scalar ? *at : at[i]; }
};

template <class C>
Weights<C> weights_of(const TensorView& pairwise, int k, std::int64_t pixels) {
  const C* first = pairwise.ptr<C>();
  if (pairwise.ndim == 0) return {first, true};
  if (pairwise.ndim == 1) return {first + k, true};
  return {first + k * pixels, false};
}

// Calls body(k, p, q) for every pair of neighbours, q = p + step k.
template <class Body>
void for_pairs(const Grid& grid, int connectivity, const Body& body) {
  for (int k = 0; k < connectivity / 2; ++k) {
    const GridStep step = grid_step(connectivity, k);
    const std::int64_t ahead = (step.z * grid.height + step.y) * grid.width + step.x;
    for (std::int64_t z = 0; z + step.z < grid.depth; ++z)
      for (std::int64_t y = step.y < 0 ? 1 : 0; y + (step.y > 0) < grid.height; ++y) {
        const std::int64_t row = (z * grid.height + y) * grid.width;
        for (std::int64_t x = step.x < 0 ? 1 : 0; x + (step.x > 0) < grid.width; ++x) body(k, row + x, row + x + ahead);
      }
  }
}

template <class C>
void check_values(const TensorView& unary, const TensorView& pairwise, int connectivity) {
  const Grid grid(unary);
  const C *zero = unary.ptr<C>(), *one = zero + grid.pixels;
  constexpr bool integer = std::is_integral_v<C>;
  for (std::int64_t i = 0; i < grid.pixels; ++i) {
    if constexpr (integer) {
      const std::int64_t difference = std::int64_t{zero[i]} - one[i];
      require(difference < kIntegerLimit && -difference < kIntegerLimit, kOp,
              ": integer costs of a pixel must differ by less than 2^30, got ", zero[i], " and ", one[i]);
    } else {
      constexpr C kInfinity = std::numeric_limits<C>::infinity();
      require(zero[i] > -kInfinity && one[i] > -kInfinity && (zero[i] < kInfinity || one[i] < kInfinity), kOp,
              ": unary must be numbers or +inf for a forbidden label, not for both, got ", zero[i], " and ", one[i]);
    }
  }
  const auto check = [&](C w) {
    if constexpr (integer)
      require(w >= 0 && w < kIntegerLimit, kOp, ": pairwise must be at least 0 and less than 2^30, got ", w);
    else
      require(w >= 0 && w < std::numeric_limits<C>::infinity(), kOp, ": pairwise must be finite and not negative, got ",
              w);
  };
  if (pairwise.ndim <= 1)
    for (std::int64_t i = 0; i < pairwise.numel(); ++i) check(pairwise.ptr<C>()[i]);
  else
    for_pairs(grid, connectivity,
              [&](int k, std::int64_t p, std::int64_t) { check(pairwise.ptr<C>()[k * grid.pixels + p]); });
}

template <class Body>
decltype(auto) dispatch(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kInt32: return body(std::int32_t{});
    case DType::kFloat32: return body(float{});
    default: return body(double{});
  }
}

template <class C>
void run(const TensorView& unary, const TensorView& pairwise, int connectivity, const TensorView& labels) {
  const Grid grid(unary);
  if (grid.pixels == 0) return;
  GridCut<C> cut{};
  cut.depth = grid.depth, cut.height = grid.height, cut.width = grid.width;
  cut.neighbours = connectivity;
  cut.cost0 = unary.ptr<C>();
  cut.cost1 = cut.cost0 + grid.pixels;
  C repeated[kMaxForward];
  cut.scalar = pairwise.ndim <= 1;
  cut.weights = pairwise.ptr<C>();
  if (pairwise.ndim == 0) {
    for (C& w : repeated) w = *pairwise.ptr<C>();
    cut.weights = repeated;
  }
  cut.labels = labels.ptr<std::uint8_t>();
  grid_cut(cut);
}

}  // namespace

void check_graph_cut(const TensorView& unary, const TensorView& pairwise, std::int64_t connectivity) {
  require((unary.ndim == 3 || unary.ndim == 4) && unary.size(0) == 2, kOp,
          ": unary must have shape (2, H, W) or (2, D, H, W), got ", shape_string(unary));
  require_type(unary.dtype == DType::kInt32 || unary.dtype == DType::kFloat32 || unary.dtype == DType::kFloat64, kOp,
               ": unary must be int32, float32 or float64, got ", dtype_name(unary.dtype));
  require_same_dtype(kOp, "unary", unary, "pairwise", pairwise);
  if (unary.ndim == 3)
    require(connectivity == 4 || connectivity == 8, kOp, ": connectivity must be 4 or 8 in an image, got ",
            connectivity);
  else
    require(connectivity == 6 || connectivity == 26, kOp, ": connectivity must be 6 or 26 in a volume, got ",
            connectivity);
  bool fits = pairwise.ndim <= 1 || pairwise.ndim == unary.ndim;
  if (pairwise.ndim > 0) fits = fits && pairwise.size(0) == connectivity / 2;
  for (int d = 1; fits && d < pairwise.ndim; ++d) fits = pairwise.size(d) == unary.size(d);
  require(fits, kOp, ": pairwise must be one number, one for each of ", connectivity / 2,
          " directions, or an array for each of them, for unary ", shape_string(unary), ", got shape ",
          shape_string(pairwise));
  require(unary.is_contiguous() && pairwise.is_contiguous(), kOp, ": unary and pairwise must be contiguous");
  // Node numbers and steps between nodes are 32-bit; the margin covers the border around the grid.
  const Grid grid(unary);
  require((grid.depth + 2) * (grid.height + 2) * (grid.width + 2) < std::int64_t{1} << 31, kOp,
          ": unary must have fewer than 2^31 pixels, got ", shape_string(unary));
  dispatch(unary.dtype, [&](auto c) { check_values<decltype(c)>(unary, pairwise, static_cast<int>(connectivity)); });
}

void graph_cut(const TensorView& unary, const TensorView& pairwise, std::int64_t connectivity,
               const TensorView& labels) {
  dispatch(unary.dtype, [&](auto c) { run<decltype(c)>(unary, pairwise, static_cast<int>(connectivity), labels); });
}

GraphCutEnergy graph_cut_energy(const TensorView& unary, const TensorView& pairwise, std::int64_t connectivity,
                                const TensorView& labels) {
  const Grid grid(unary);
  const auto* x = labels.ptr<std::uint8_t>();
  const int neighbours = static_cast<int>(connectivity);
  GraphCutEnergy energy;
  dispatch(unary.dtype, [&](auto c) {
    using C = decltype(c);
    using Sum = std::conditional_t<std::is_integral_v<C>, std::int64_t, double>;
    Sum sum = 0;
    for (std::int64_t i = 0; i < grid.pixels; ++i) sum += static_cast<Sum>(unary.ptr<C>()[x[i] * grid.pixels + i]);
    Weights<C> weights[kMaxForward];
    for (int k = 0; k < neighbours / 2; ++k) weights[k] = weights_of<C>(pairwise, k, grid.pixels);
    for_pairs(grid, neighbours, [&](int k, std::int64_t p, std::int64_t q) {
      if (x[p] != x[q]) sum += static_cast<Sum>(weights[k](p));
    });
    energy.real = static_cast<double>(sum);
    if constexpr (std::is_integral_v<C>) energy.integer = sum;
  });
  return energy;
}

}  // namespace saccade
