// Gradients of deformable convolution.
//
// Input, offsets, mask: for a chunk of results the gradients of their samples, a product with the transposed weights;
// then every thread adds them to the cells of its own slice of channels, result after result, and takes the derivatives
// of its own results. Weights: panel by panel, as in a convolution, with samples where that has cells.
#include <cstring>

#include "common/dispatch.h"
#include "ops/conv_panels.h"
#include "ops/deform_samples.h"

namespace saccade {
namespace {

template <class T>
class DeformSampleGradient {
  using A = decltype(to_float(T{}));

 public:
  DeformSampleGradient(const TensorView& grad, const DeformArguments& arguments, const DeformShape& shape,
                       const DeformSampleGradients& gradients)
      : shape_(shape),
        conv_(shape.conv),
        gradients_(gradients),
        taps_(arguments, shape),
        images_(arguments.input, shape),
        grad_(grad.ptr<const T>()),
        grad_layout_(grad),
        input_layout_(arguments.input),
        panels_(panels_of<A>(conv_.group_channels())),
        chunk_(chunk_results(shape)),
        weights_(conv_.groups * conv_.taps() * panels_.padded() * conv_.group_out_channels()),
        samples_(chunk_ * conv_.taps() * conv_.channels),
        rows_(grad_in_place() ? 0 : chunk_ * conv_.out_channels),
        sums_(gradients.input && !sums_in_place() ? conv_.channels * shape.cells() : 0),
        one_(panels_.most),
        none_(panels_.most) {
    std::fill_n(one_.data(), panels_.most, A(1));
    std::fill_n(none_.data(), panels_.most, A(0));
    pack(arguments.weight.ptr<const T>());
  }

  void run() {
    for (std::int64_t image = 0; image < conv_.images; ++image) {
      if (gradients_.offset || gradients_.mask) images_.load(image);
      if (gradients_.input) std::fill_n(sums(image), conv_.channels * shape_.cells(), A(0));
      for (std::int64_t first = 0; first < shape_.results(); first += chunk_)
        chunk({image, first, std::min(chunk_, shape_.results() - first)});
      if (gradients_.input && !sums_in_place()) write_sums(image);
    }
  }

 private:
  struct Chunk {
    std::int64_t image, first, count;
  };

  static constexpr std::int64_t kPiece = 48;  // results whose offsets and masks are one piece of work

  // As many results as keep the samples within a quarter of what input, output and weights take.
  static std::int64_t chunk_results(const DeformShape& shape) {
    constexpr std::int64_t kMost = 32 * kConvRows;
    const ConvShape& conv = shape.conv;
    const std::int64_t all = conv.images * (conv.channels * shape.cells() + conv.out_channels * shape.results()) +
                             conv.out_channels * conv.group_channels() * conv.taps();
    const std::int64_t fit = all / 4 / std::max<std::int64_t>(1, conv.taps() * conv.channels);
    return std::clamp(fit / kConvRows * kConvRows, kConvRows, kMost);
  }
  bool grad_in_place() const { return std::is_same_v<T, A> && grad_layout_.channel == 1; }
  bool sums_in_place() const { return std::is_same_v<T, A> && input_layout_.channel == 1; }

  A* sums(std::int64_t image) const {
    if constexpr (std::is_same_v<T, A>)
      if (sums_in_place()) return gradients_.input->ptr<A>() + image * input_layout_.image;
    return sums_.data();
  }

  // For each group, tap and panel of input channels: [output channel][column].
  void pack(const T* weight) const {
    const std::int64_t taps = conv_.taps(), depth = conv_.group_out_channels(), step = conv_.group_channels() * taps;
    const auto kernel = conv_gemm_kernels().get<T>().pack;
    parallel_for(conv_.groups * taps * panels_.count(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t panel = unit % panels_.count(), line = unit / panels_.count();
        const T* from = weight + line / taps * depth * step + panels_.first(panel) * taps + line % taps;
        kernel(from, taps, step, panels_.columns(panel), depth, panels_.pitch(panel), panel_weights(line, panel));
      }
    });
  }
  A* panel_weights(std::int64_t line, std::int64_t panel) const {
    return weights_.data() + (line * panels_.padded() + panels_.first(panel)) * conv_.group_out_channels();
  }

  // Threads wait for each other twice: what cells and offsets take from the samples is one piece of work.
  void chunk(const Chunk& at) const {
    if (!grad_in_place()) copy_rows(at);
    differentiate_samples(at);
    const std::int64_t channels = conv_.channels, threads = omp_get_max_threads();
    const std::int64_t share = (channels + threads - 1) / threads;
    const std::int64_t slice = std::clamp<std::int64_t>((share + 15) / 16 * 16, 16, 64);
    const std::int64_t slices = gradients_.input ? (channels + slice - 1) / slice : 0;
    const bool moves = gradients_.offset || gradients_.mask;
    const std::int64_t pieces = moves ? (at.count + kPiece - 1) / kPiece : 0;
    parallel_for_dynamic(slices + pieces, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t unit = begin; unit < end; ++unit) {
        if (unit < slices) {
          add_to_cells(at, unit * slice, std::min(slice, channels - unit * slice));
        } else {
          const std::int64_t first = (unit - slices) * kPiece;
          differentiate(at, first, std::min(kPiece, at.count - first));
        }
      }
    });
  }

  // The gradients of the chunk's results, channels innermost.
  void copy_rows(const Chunk& at) const {
    const std::int64_t outs = conv_.out_channels;
    const T* from = grad_ + at.image * grad_layout_.image + at.first * grad_layout_.cell;
    if (grad_layout_.channel != 1)
      return channel_block_kernels().get<T>().pack(from, grad_layout_.channel, outs, at.count, rows_.data(), outs);
    conv_gemm_kernels().get<T>().copy_pixel(from, 1, at.count * outs, rows_.data());
  }
  const A* row(const Chunk& at, std::int64_t r) const {
    if constexpr (std::is_same_v<T, A>)
      if (grad_in_place()) return grad_ + at.image * grad_layout_.image + (at.first + r) * conv_.out_channels;
    return rows_.data() + r * conv_.out_channels;
  }

  // samples_[result][tap][channel]
  void differentiate_samples(const Chunk& at) const {
    const std::int64_t units = conv_.groups * conv_.taps() * panels_.count();
    if (units == 0) return;
    const std::int64_t parts = row_parts(units, at.count);
    parallel_for(units * parts, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t unit = begin; unit < end; ++unit) {
        const RowPart part = row_part(unit % parts, parts, at.count);
        for_each_tile(part.first, part.last, [&](std::int64_t r, std::int64_t count) {
          multiply(at, unit / parts / panels_.count(), unit / parts % panels_.count(), r, count);
        });
      }
    });
  }

  void multiply(const Chunk& at, std::int64_t line, std::int64_t panel, std::int64_t r, std::int64_t count) const {
    const std::int64_t group = line / conv_.taps(), tap = line % conv_.taps(), outs = conv_.group_out_channels();
    const std::int64_t channel = group * conv_.group_channels() + panels_.first(panel), pitch = panels_.pitch(panel);
    const A* rows[kConvRows];
    A* out[kConvRows];
    for (std::int64_t i = 0; i < count; ++i) {
      rows[i] = row(at, r + i) + group * outs;
      out[i] = samples(r + i, tap) + channel;
    }
    const ConvFinish<A> finish = {nullptr, pitch, count,   panels_.columns(panel), one_.data(), none_.data(),
                                  nullptr, out,   nullptr, Activation::kNone};
    conv_gemm_kernels().get<A>().multiply(
        {rows, count, 1, outs, 1, panel_weights(line, panel), pitch, false, nullptr, &finish});
  }
  A* samples(std::int64_t r, std::int64_t tap) const {
    return samples_.data() + (r * conv_.taps() + tap) * conv_.channels;
  }

  // Channels [first, first + width).
  void add_to_cells(const Chunk& at, std::int64_t first, std::int64_t width) const {
    const auto kernel = deform_conv2d_kernels().get<T>().add_to_cells;
    const std::int64_t channels = conv_.channels, taps = conv_.taps();
    A* cells = sums(at.image);
    for (std::int64_t t = 0; t < taps; ++t)
      for_offset_groups(shape_, first, width, [&](std::int64_t g, std::int64_t c, std::int64_t count) {
        kernel(taps_.tap(at.image, g, t), {cells + c, conv_.x.in * channels, channels, 1}, at.first, at.count, count,
               samples(0, t) + c, taps * channels);
      });
  }

  // Results [first, first + count) of the chunk.
  void differentiate(const Chunk& at, std::int64_t first, std::int64_t count) const {
    const auto kernel = deform_conv2d_kernels().get<T>().differentiate;
    const std::int64_t taps = conv_.taps(), width = shape_.offset_channels();
    for (std::int64_t g = 0; g < shape_.offset_groups; ++g)
      for (std::int64_t t = 0; t < taps; ++t)
        kernel(taps_.tap(at.image, g, t), images_.cells(at.image, g * width), at.first + first, count, width,
               samples(first, t) + g * width, taps * conv_.channels, results(at.image, g, t));
  }
  DeformGradients<T> results(std::int64_t image, std::int64_t g, std::int64_t t) const {
    T* offset = gradients_.offset ? gradients_.offset->ptr<T>() + taps_.offset_at(image, g, t) : nullptr;
    T* mask = gradients_.mask ? gradients_.mask->ptr<T>() + taps_.mask_at(image, g, t) : nullptr;
    return {offset, offset ? offset + taps_.offset_channel() : nullptr, mask};
  }

  void write_sums(std::int64_t image) const {
    const std::int64_t channels = conv_.channels;
    T* to = gradients_.input->ptr<T>() + image * input_layout_.image;
    parallel_for(shape_.cells(), conv_grain(channels * 16), [&](std::int64_t begin, std::int64_t end) {
      const A* from = sums_.data() + begin * channels;
      if (input_layout_.channel != 1)
        return channel_block_kernels().get<T>().unpack(from, channels, channels, end - begin, to + begin,
                                                       input_layout_.channel);
      for (std::int64_t i = 0; i < (end - begin) * channels; ++i) to[begin * channels + i] = from_float<T>(from[i]);
    });
  }

  const DeformShape& shape_;
  const ConvShape& conv_;
  const DeformSampleGradients& gradients_;
  const DeformTaps<T> taps_;
  DeformImages<T> images_;
  const T* grad_;
  const DeformLayout grad_layout_, input_layout_;
  const Panels panels_;
  const std::int64_t chunk_;
  const Scratch<A> weights_, samples_, rows_, sums_, one_, none_;
};

// A thread owns panels of (tap, channel) pairs, for some output channels, and adds chunk after chunk of results.
template <class T>
class DeformWeightGradient {
  using A = decltype(to_float(T{}));
  static constexpr std::int64_t kChunk = 256;  // results whose samples are taken at a time: a panel of 64 KiB

 public:
  DeformWeightGradient(const TensorView& grad, const DeformArguments& arguments, const DeformShape& shape, A* gradient)
      : shape_(shape),
        conv_(shape.conv),
        taps_(arguments, shape),
        images_(arguments.input, shape),
        grad_(grad.ptr<const T>()),
        grad_layout_(grad),
        kernels_(conv_gemm_kernels().get<T>()),
        depth_(conv_.group_channels() * conv_.taps()),
        outs_(conv_.group_out_channels()),
        panels_(panels_of<T>(depth_)),
        gradient_(gradient) {}

  void run() {
    std::fill_n(gradient_, conv_.out_channels * depth_, A(0));
    const std::int64_t pieces = conv_.groups * panels_.count();
    if (pieces == 0) return;
    const std::int64_t parts = row_parts(pieces, outs_), at_once = images_.at_once();
    for (std::int64_t image = 0; image < conv_.images; image += at_once) {
      images_.load(image);
      parallel_for(pieces * parts, conv_grain(at_once * shape_.results() * outs_ * panels_.most / parts),
                   [&](std::int64_t begin, std::int64_t end) {
                     const Buffers buffers(*this);
                     for (std::int64_t unit = begin; unit < end; ++unit) {
                       const std::int64_t piece = unit / parts;
                       add_images(
                           image, at_once,
                           {piece / panels_.count(), piece % panels_.count(), row_part(unit % parts, parts, outs_)},
                           buffers);
                     }
                   });
    }
  }

 private:
  struct Piece {
    std::int64_t group, panel;
    RowPart part;
  };
  struct Buffers {
    explicit Buffers(const DeformWeightGradient& of)
        : sums(of.outs_ * of.panels_.most),
          samples(kChunk * of.panels_.most),
          copies(std::is_same_v<T, A> ? 0 : kChunk * of.outs_) {}
    Scratch<A> sums, samples, copies;
  };

  // Pair j of the panel is (tap, channel of the group); its element of the gradient for output channel n.
  A& element(const Piece& piece, std::int64_t n, std::int64_t j) const {
    const std::int64_t pair = panels_.first(piece.panel) + j, channels = conv_.group_channels();
    return gradient_[((piece.group * outs_ + n) * channels + pair % channels) * conv_.taps() + pair / channels];
  }
  template <class Body>
  void each_sum(const Piece& piece, const Buffers& buffers, const Body& body) const {
    for (std::int64_t n = piece.part.first; n < piece.part.last; ++n)
      for (std::int64_t j = 0; j < panels_.columns(piece.panel); ++j)
        body(buffers.sums[n * panels_.pitch(piece.panel) + j], element(piece, n, j));
  }

  void add_images(std::int64_t image, std::int64_t count, const Piece& piece, const Buffers& buffers) const {
    if (panels_.columns(piece.panel) < panels_.pitch(piece.panel)) {
      std::memset(buffers.samples.data(), 0, buffers.samples.size() * sizeof(A));
      std::memset(buffers.sums.data(), 0, buffers.sums.size() * sizeof(A));
    }
    each_sum(piece, buffers, [](A& sum, A& total) { sum = total; });
    for (std::int64_t i = image; i < image + count; ++i)
      for (std::int64_t first = 0; first < shape_.results(); first += kChunk) {
        const std::int64_t results = std::min(kChunk, shape_.results() - first);
        sample(piece, i, first, results, buffers);
        add(piece, i, first, results, buffers);
      }
    each_sum(piece, buffers, [](A& sum, A& total) { total = sum; });
  }

  // Samples: [result][pair].
  void sample(const Piece& piece, std::int64_t image, std::int64_t first, std::int64_t count,
              const Buffers& buffers) const {
    const auto kernel = deform_conv2d_kernels().get<T>().sample;
    const std::int64_t channels = conv_.group_channels(), columns = panels_.columns(piece.panel);
    for (std::int64_t j = 0; j < columns;) {
      const std::int64_t pair = panels_.first(piece.panel) + j, tap = pair / channels, channel = pair % channels;
      const std::int64_t run = std::min(channels - channel, columns - j);
      const std::int64_t from = piece.group * channels + channel;
      for_offset_groups(shape_, from, run, [&](std::int64_t g, std::int64_t c, std::int64_t width) {
        kernel(taps_.tap(image, g, tap), images_.cells(image, c), first, count, width,
               buffers.samples.data() + j + c - from, panels_.pitch(piece.panel));
      });
      j += run;
    }
  }

  void add(const Piece& piece, std::int64_t image, std::int64_t first, std::int64_t count,
           const Buffers& buffers) const {
    const std::int64_t pitch = panels_.pitch(piece.panel);
    // Output channel n of result r: base[n * n_step + r * r_step].
    std::int64_t n_step = grad_layout_.channel, r_step = grad_layout_.cell;
    const T* from = grad_ + image * grad_layout_.image + first * r_step + piece.group * outs_ * n_step;
    const A* base;
    if constexpr (std::is_same_v<T, A>) {
      base = from;
    } else {
      for (std::int64_t n = piece.part.first; n < piece.part.last; ++n)
        kernels_.copy_pixel(from + n * n_step, r_step, count, buffers.copies.data() + n * kChunk);
      base = buffers.copies.data(), n_step = kChunk, r_step = 1;
    }
    ConvTile<A> tile = {nullptr, 0, 1, count, r_step, buffers.samples.data(), pitch, true, nullptr};
    for_each_tile(piece.part.first, piece.part.last, [&](std::int64_t n, std::int64_t rows) {
      const A* starts[kConvRows];
      for (std::int64_t i = 0; i < rows; ++i) starts[i] = base + (n + i) * n_step;
      tile.rows = starts, tile.count = rows, tile.sums = buffers.sums.data() + n * pitch;
      kernels_.multiply_strided(tile);
    });
  }

  const DeformShape& shape_;
  const ConvShape& conv_;
  const DeformTaps<T> taps_;
  DeformImages<T> images_;
  const T* grad_;
  const DeformLayout grad_layout_;
  const ConvGemmFunctions<T>& kernels_;
  const std::int64_t depth_, outs_;
  const Panels panels_;
  A* gradient_;
};

}  // namespace

void deform_conv2d_backward_samples(const TensorView& grad, const DeformArguments& arguments, const DeformShape& shape,
                                    const DeformSampleGradients& gradients) {
  if (!gradients.input && !gradients.offset && !gradients.mask) return;
  dispatch_floating(grad.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    DeformSampleGradient<T>(grad, arguments, shape, gradients).run();
  });
}

void deform_conv2d_backward_weight(const TensorView& grad, const DeformArguments& arguments, const DeformShape& shape,
                                   const TensorView& grad_weight) {
  dispatch_floating(grad.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    DeformWeightGradient<T>(grad, arguments, shape, static_cast<decltype(to_float(T{}))*>(grad_weight.data)).run();
  });
}

}  // namespace saccade
