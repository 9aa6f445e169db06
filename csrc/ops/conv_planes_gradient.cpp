// The gradient of a convolution's weights over planes: dot products of the results' gradients with the cells that each
// tap of each channel saw, over strips (csrc/ops/strip_layout.h) of several images. A thread owns blocks of output
// channels by channels and adds their strips in order.
#include <cstring>

#include "common/dispatch.h"
#include "common/scratch.h"
#include "math/half.h"
#include "ops/conv_panels.h"
#include "ops/conv_planes.h"
#include "ops/strip_layout.h"

namespace saccade {
namespace {

constexpr std::int64_t kPairs = 96, kOuts = 64;  // of a block, about
constexpr std::int64_t kStrip = 1024;            // results of a strip, about: a block's operands fit into L2

template <class T>
class PlanesGradient {
  using A = decltype(to_float(T{}));

 public:
  PlanesGradient(const ConvProblem& problem, const T* source, const T* results, const ConvWeights& weights, A* gradient)
      : problem_(problem),
        grid_(problem.grid),
        depth_(problem.depth()),
        kernels_(conv_planes_kernels().get<T>()),
        layout_(grid_, kernels_.lanes),
        rows_(at_least_one(std::min(grid_.rows, kStrip / at_least_one(layout_.pitch())))),
        images_(at_least_one(std::min(problem.images, kStrip / at_least_one(rows_ * layout_.pitch())))),
        length_((rows_ * layout_.pitch() + kernels_.lanes - 1) / kernels_.lanes * kernels_.lanes),
        channels_(std::min(at_least_one(kPairs / at_least_one(depth_.taps)), depth_.channels)),
        outs_(std::min(kOuts, problem.outs())),
        source_(source),
        results_(results),
        weights_(weights),
        gradient_(gradient) {}

  void run() const {
    const std::int64_t channel_blocks = blocks(depth_.channels, channels_), out_blocks = blocks(problem_.outs(), outs_);
    const std::int64_t work = outs_ * channels_ * depth_.taps * problem_.images * grid_.results();
    parallel_for(problem_.groups * channel_blocks * out_blocks, conv_grain(work),
                 [&](std::int64_t begin, std::int64_t end) {
                   // What lies between planes is read, beside zero gradients.
                   const Scratch<A> cells(images_ * image_cells()), grads(images_ * outs_ * length_);
                   const Scratch<A> sums(outs_ * channels_ * depth_.taps);
                   std::memset(cells.data(), 0, cells.size() * sizeof(A));
                   const bool once = rows_ == grid_.rows && images_ == problem_.images;  // one strip is all
                   std::int64_t copied = -1;
                   for (std::int64_t unit = begin; unit < end; ++unit) {
                     const std::int64_t c = unit % channel_blocks * channels_, out = unit / channel_blocks;
                     const std::int64_t group = out / out_blocks, n = out % out_blocks * outs_;
                     block({group, c, std::min(channels_, depth_.channels - c), n, std::min(outs_, problem_.outs() - n),
                            once && out == copied},
                           cells.data(), grads.data(), sums.data());
                     copied = out;
                   }
                 });
  }

 private:
  struct Block {
    std::int64_t group, first_channel, channels, first_out, outs;
    bool has_grads;  // whether they are still there from the block before
    std::int64_t pairs(std::int64_t taps) const { return channels * taps; }
  };

  static std::int64_t at_least_one(std::int64_t n) { return std::max<std::int64_t>(1, n); }
  static std::int64_t blocks(std::int64_t total, std::int64_t of) { return (total + of - 1) / of; }
  std::int64_t image_cells() const { return channels_ * layout_.plane(rows_) + layout_.slack() + kernels_.lanes; }

  void block(const Block& b, A* cells, A* grads, A* sums) const {
    const std::int64_t pairs = b.pairs(depth_.taps);
    std::memset(sums, 0, b.outs * pairs * sizeof(A));
    std::vector<std::int64_t> places(pairs);
    for (std::int64_t image = 0; image < problem_.images; image += images_) {
      const std::int64_t images = std::min(images_, problem_.images - image);
      for (std::int64_t first = 0; first < grid_.rows; first += rows_) {
        const std::int64_t rows = std::min(rows_, grid_.rows - first);
        const std::vector<std::int64_t> offsets = layout_.offsets(rows);
        for (std::int64_t j = 0; j < pairs; ++j)
          places[j] = j / depth_.taps * layout_.plane(rows) + offsets[j % depth_.taps];
        for (std::int64_t i = 0; i < images; ++i)
          copy(b, image + i, first, rows, cells + i * image_cells(), grads + i * outs_ * length_);
        kernels_.dots({images, outs_ * length_, image_cells(), length(rows), grads, b.outs, length_, cells,
                       places.data(), pairs, sums, pairs});
      }
    }
    store(b, sums);
  }

  std::int64_t length(std::int64_t rows) const {
    return (rows * layout_.pitch() + kernels_.lanes - 1) / kernels_.lanes * kernels_.lanes;
  }

  void copy(const Block& b, std::int64_t image, std::int64_t first, std::int64_t rows, A* cells, A* grads) const {
    const T* planes = source_ + (image * problem_.channels + b.group * depth_.channels + b.first_channel) *
                                    grid_.source_h * grid_.source_w;
    for (std::int64_t c = 0; c < b.channels; ++c)
      layout_.copy(kernels_, planes + c * grid_.source_h * grid_.source_w, first, rows,
                   cells + c * layout_.plane(rows));
    if (b.has_grads) return;
    const std::int64_t channel = image * problem_.out_channels + b.group * problem_.outs() + b.first_out;
    const std::int64_t used = rows * layout_.pitch();
    for (std::int64_t n = 0; n < b.outs; ++n) {
      A* to = grads + n * length_;
      kernels_.copy(results_ + (channel + n) * grid_.results(),
                    {grid_.rows, grid_.columns, first, 0, 1, 1, rows, layout_.pitch()}, to);
      std::memset(to + used, 0, (length(rows) - used) * sizeof(A));
    }
  }

  void store(const Block& b, const A* sums) const {
    for (std::int64_t n = 0; n < b.outs; ++n)
      for (std::int64_t c = 0; c < b.channels; ++c)
        for (std::int64_t t = 0; t < depth_.taps; ++t)
          gradient_[b.group * weights_.group_step + (b.first_out + n) * weights_.n_step +
                    (b.first_channel + c) * weights_.c_step + weights_.taps[t]] = *sums++;
  }

  const ConvProblem& problem_;
  const ConvGrid& grid_;
  const ConvDepth depth_;
  const ConvPlanesFunctions<T>& kernels_;
  const StripLayout layout_;
  const std::int64_t rows_, images_, length_;  // of a strip: rows, images, padded results of an image
  const std::int64_t channels_, outs_;
  const T *source_, *results_;
  const ConvWeights& weights_;
  A* gradient_;
};

}  // namespace

void conv_planes_weight_gradient(const ConvProblem& problem, const TensorView& source, const TensorView& results,
                                 const ConvWeights& layout, void* gradient) {
  if (problem.out_channels * problem.channels * problem.grid.taps == 0) return;
  dispatch_floating(source.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = decltype(to_float(T{}));
    PlanesGradient<T>(problem, source.ptr<const T>(), results.ptr<const T>(), layout, static_cast<A*>(gradient)).run();
  });
}

}  // namespace saccade
