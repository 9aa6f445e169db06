// Building the lattice. Points are taken in bands of fixed size. Every band finds its own vertices with a hash table
// that fits in L1 or L2, in any thread; then the bands' vertices, a twentieth of the entries, are numbered in the order
// of the bands, image by image.
#include <algorithm>
#include <vector>

#include "common/parallel.h"
#include "ops/checks.h"
#include "ops/permutohedral.h"

namespace saccade {

void check_permutohedral_lattice(const TensorView& features) {
  constexpr const char* op = "permutohedral_filter";
  require_shape(op, "features", features, "(B, N, d)", {-1, -1, -1});
  const std::int64_t d = features.sizes[2];
  require(d >= 1 && d <= kMaxLatticeDims, op, ": features must have 1 to 8 dimensions, got ", d);
  require_type(features.dtype == DType::kFloat32 || features.dtype == DType::kFloat64, op,
               ": features must be float32 or float64, got ", dtype_name(features.dtype));
  require(features.sizes[0] * features.sizes[1] <= INT32_MAX / (d + 1), op, ": features must have at most ",
          INT32_MAX / (d + 1), " points, got ", features.sizes[0] * features.sizes[1]);
}

namespace {

constexpr std::int64_t kPiecePoints = 256;  // whose keys are made at a time

// From keys to numbers in the order in which they come. Open addressing, at most half full.
class KeyTable {
 public:
  explicit KeyTable(int log_size = 12) { resize(log_size); }

  std::int32_t insert(std::uint64_t key) {
    std::size_t at = slot(key);
    if (slots_[at].key == key) return slots_[at].number;
    const auto number = static_cast<std::int32_t>(keys_.size());
    slots_[at] = {key, number};
    keys_.push_back(key);
    if (keys_.size() * 2 > slots_.size()) grow();
    return number;
  }
  // -1 where the key is not there.
  std::int32_t find(std::uint64_t key) const { return slots_[slot(key)].number; }

  const std::vector<std::uint64_t>& keys() const { return keys_; }
  std::vector<std::uint64_t> take_keys() { return std::move(keys_); }

 private:
  struct Slot {
    std::uint64_t key;
    std::int32_t number;
  };
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};  // no key has a remainder of 15

  std::size_t slot(std::uint64_t key) const {
    // The product's upper bits depend on all bits of the key, most on the lowest ones: fold the upper half in first.
    std::size_t at = (key ^ key >> 32) * 0x9e3779b97f4a7c15u >> shift_;
    while (slots_[at].key != key && slots_[at].key != kEmpty) at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  void resize(int log_size) {
    shift_ = 64 - log_size;
    slots_.assign(std::size_t{1} << log_size, {kEmpty, -1});
  }
  void grow() {
    resize(64 - shift_ + 1);
    for (std::size_t i = 0; i < keys_.size(); ++i) slots_[slot(keys_[i])] = {keys_[i], static_cast<std::int32_t>(i)};
  }

  int shift_ = 0;
  std::vector<Slot> slots_;
  std::vector<std::uint64_t> keys_;
};

struct Band {
  std::int64_t image, begin, end;      // points
  std::vector<std::uint64_t> keys;     // of its vertices
  std::vector<std::int32_t> entries;   // of each vertex: how many
  std::vector<std::int32_t> vertices;  // their final numbers
  std::vector<std::int32_t> part;      // which of the vertex's parts this band's is
  std::int64_t first_segment = 0;
};

struct Image {
  Image(std::size_t first, std::size_t last) : first_band(first), last_band(last) {}

  std::size_t first_band, last_band;
  KeyTable table{14};
  std::vector<std::int32_t> parts;  // of each vertex: in how many bands it is
  std::int32_t first_vertex = 0;
};

}  // namespace

struct LatticeBuilder::State {
  TensorView features, vertices, weights;
  std::int64_t d, corners;
  std::vector<Band> bands;
  std::vector<Image> images;

  template <class T>
  void find_vertices(Band& band) const {
    const auto embed = permutohedral_kernels<T>().embed[d - 1];
    KeyTable table;
    std::uint64_t keys[kPiecePoints * (kMaxLatticeDims + 1)];
    std::uint64_t last[kMaxLatticeDims + 1];
    std::int32_t number[kMaxLatticeDims + 1];
    std::fill_n(last, corners, ~std::uint64_t{0});
    for (std::int64_t p = band.begin; p < band.end; p += kPiecePoints) {
      const std::int64_t count = std::min(kPiecePoints, band.end - p);
      const bool good = embed(features.ptr<T>() + p * d, count, weights.ptr<T>() + p * corners, keys);
      require(good, "permutohedral_filter: features must be finite and, in units of the filter's width, below about ",
              (1 << (lattice_key_bits(static_cast<int>(d)) - 1)) / 2, " (", d, " dimensions)");
      std::int32_t* out = vertices.ptr<std::int32_t>() + p * corners;
      for (std::int64_t e = 0; e < count * corners; e += corners)
        for (std::int64_t c = 0; c < corners; ++c) {  // neighbouring points often share vertices
          if (keys[e + c] != last[c]) {
            last[c] = keys[e + c];
            number[c] = table.insert(last[c]);
            if (static_cast<std::size_t>(number[c]) == band.entries.size()) band.entries.push_back(0);
          }
          out[e + c] = number[c];
          ++band.entries[static_cast<std::size_t>(number[c])];
        }
    }
    band.keys = table.take_keys();
  }

  // Numbers within the image, and the parts of every vertex.
  void merge(Image& image) {
    for (std::size_t b = image.first_band; b < image.last_band; ++b) {
      Band& band = bands[b];
      band.vertices.resize(band.keys.size());
      band.part.resize(band.keys.size());
      for (std::size_t v = 0; v < band.keys.size(); ++v) {
        const std::int32_t number = image.table.insert(band.keys[v]);
        band.vertices[v] = number;
        if (static_cast<std::size_t>(number) == image.parts.size()) image.parts.push_back(0);
        band.part[v] = image.parts[static_cast<std::size_t>(number)]++;
      }
    }
  }

  template <class T>
  void place(const Band& band, const LatticeViews& lattice) const {
    const std::int32_t first_vertex = images[static_cast<std::size_t>(band.image)].first_vertex;
    std::vector<std::int32_t> next(band.keys.size());
    auto* segments = lattice.segments.ptr<std::int32_t>() + band.first_segment;
    const auto* starts = lattice.starts.ptr<std::int32_t>();
    auto entry = static_cast<std::int32_t>(band.begin * corners);
    for (std::size_t v = 0; v < next.size(); ++v) {
      segments[v] = next[v] = entry;
      entry += band.entries[v];
      lattice.parts.ptr<std::int32_t>()[starts[band.vertices[v] + first_vertex] + band.part[v]] =
          static_cast<std::int32_t>(band.first_segment + static_cast<std::int64_t>(v));
    }
    auto* numbers = vertices.ptr<std::int32_t>();
    const T* from = weights.ptr<T>();
    for (std::int64_t p = band.begin, e = p * corners; p < band.end; ++p)
      for (std::int64_t c = 0; c < corners; ++c, ++e) {
        const auto v = static_cast<std::size_t>(numbers[e]);
        const std::int32_t to = next[v]++;
        numbers[e] = band.vertices[v] + first_vertex;
        lattice.points.ptr<std::int32_t>()[to] = static_cast<std::int32_t>(p);
        lattice.point_weights.ptr<T>()[to] = from[e];
      }
  }

  // Vertices [begin, end) of an image, along one axis. A vertex that has a neighbour ahead is the one behind it.
  void connect(const Image& image, std::int64_t axis, std::int64_t begin, std::int64_t end, std::int32_t* pairs) const {
    const int bits = lattice_key_bits(static_cast<int>(d));
    std::uint64_t units = 0;
    for (int j = 0; j < d; ++j) units += std::uint64_t{1} << (4 + bits * j);
    const std::uint64_t own = axis < d ? std::uint64_t{1} << (4 + bits * axis) : 0;
    for (std::int64_t v = begin; v < end; ++v) {
      // One less everywhere, d more along the axis: the remainder falls by one, or from 0 to d.
      const std::uint64_t key = image.table.keys()[static_cast<std::size_t>(v)];
      const std::uint64_t ahead =
          key + own + ((key & 15) > 0 ? ~std::uint64_t{0} : static_cast<std::uint64_t>(d) - units);
      const std::int32_t other = image.table.find(ahead);
      if (other < 0) continue;
      const std::int32_t here = image.first_vertex + static_cast<std::int32_t>(v), there = image.first_vertex + other;
      pairs[2 * std::int64_t{here}] = there;
      pairs[2 * std::int64_t{there} + 1] = here;
    }
  }
};

LatticeBuilder::LatticeBuilder(const TensorView& features, const TensorView& vertices, const TensorView& weights)
    : state_(new State{features, vertices, weights, features.sizes[2], features.sizes[2] + 1, {}, {}}) {
  check_permutohedral_lattice(features);
  State& state = *state_;
  const std::int64_t points = features.sizes[1];
  for (std::int64_t image = 0; image < features.sizes[0]; ++image) {
    const std::size_t first_band = state.bands.size();
    for (std::int64_t p = 0; p < points; p += kBandPoints)
      state.bands.push_back(
          {image, image * points + p, image * points + std::min(points, p + kBandPoints), {}, {}, {}, {}});
    state.images.emplace_back(first_band, state.bands.size());
  }
  parallel_for_dynamic(static_cast<std::int64_t>(state.bands.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      Band& band = state.bands[static_cast<std::size_t>(b)];
      if (features.dtype == DType::kFloat32)
        state.find_vertices<float>(band);
      else
        state.find_vertices<double>(band);
    }
  });
  parallel_for_dynamic(static_cast<std::int64_t>(state.images.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) state.merge(state.images[static_cast<std::size_t>(i)]);
  });
  for (std::size_t i = 1; i < state.images.size(); ++i)
    state.images[i].first_vertex =
        state.images[i - 1].first_vertex + static_cast<std::int32_t>(state.images[i - 1].parts.size());
  for (std::size_t b = 1; b < state.bands.size(); ++b)
    state.bands[b].first_segment =
        state.bands[b - 1].first_segment + static_cast<std::int64_t>(state.bands[b - 1].keys.size());
}

LatticeBuilder::~LatticeBuilder() = default;

std::int64_t LatticeBuilder::vertex_count() const {
  if (state_->images.empty()) return 0;
  const Image& last = state_->images.back();
  return last.first_vertex + static_cast<std::int64_t>(last.parts.size());
}

std::int64_t LatticeBuilder::segment_count() const {
  if (state_->bands.empty()) return 0;
  return state_->bands.back().first_segment + static_cast<std::int64_t>(state_->bands.back().keys.size());
}

void LatticeBuilder::finish(const LatticeViews& lattice) {
  State& state = *state_;
  const std::int64_t count = vertex_count();
  auto* starts = lattice.starts.ptr<std::int32_t>();
  starts[0] = 0;
  for (const Image& image : state.images)
    for (std::size_t v = 0; v < image.parts.size(); ++v) {
      const std::int64_t vertex = image.first_vertex + static_cast<std::int64_t>(v);
      starts[vertex + 1] = starts[vertex] + image.parts[v];
    }
  lattice.segments.ptr<std::int32_t>()[segment_count()] = static_cast<std::int32_t>(state.vertices.numel());
  parallel_for_dynamic(static_cast<std::int64_t>(state.bands.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      const Band& band = state.bands[static_cast<std::size_t>(b)];
      if (state.features.dtype == DType::kFloat32)
        state.place<float>(band, lattice);
      else
        state.place<double>(band, lattice);
    }
  });
  auto* neighbours = lattice.neighbours.ptr<std::int32_t>();
  std::fill_n(neighbours, lattice.neighbours.numel(), static_cast<std::int32_t>(count));
  for (const Image& image : state.images) {
    const auto vertices = static_cast<std::int64_t>(image.parts.size());
    parallel_for(vertices * state.corners, 4096, [&](std::int64_t begin, std::int64_t end) {
      while (begin < end) {
        const std::int64_t axis = begin / vertices, first = begin % vertices;
        const std::int64_t last = std::min(vertices, first + end - begin);
        state.connect(image, axis, first, last, neighbours + axis * count * 2);
        begin += last - first;
      }
    });
  }
}

}  // namespace saccade
