// What the passes of deformable convolution read: the taps with their offsets, and the images with channels innermost
// where there is room to turn them.
#pragma once

#include "common/large_output.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "kernels/channel_block.h"
#include "kernels/deform_conv2d.h"
#include "math/half.h"
#include "ops/deform_conv2d.h"

namespace saccade {

inline bool channels_innermost(const TensorView& view) { return view.is_channels_last() && !view.is_contiguous(); }

// Results (or cells) and channels of a tensor (n, channels, h, w): steps between neighbours.
struct DeformLayout {
  explicit DeformLayout(const TensorView& view)
      : image(view.size(1) * view.size(2) * view.size(3)),
        channel(channels_innermost(view) ? 1 : view.size(2) * view.size(3)),
        cell(channels_innermost(view) ? view.size(1) : 1) {}
  std::int64_t image, channel, cell;
};

template <class T>
class DeformTaps {
 public:
  DeformTaps(const DeformArguments& of, const DeformShape& shape)
      : shape_(shape),
        offset_(of.offset.ptr<const T>()),
        mask_(of.mask ? of.mask->ptr<const T>() : nullptr),
        offset_layout_(of.offset),
        mask_layout_(of.mask ? *of.mask : of.offset) {}

  // Tap t for the channels of offset group g.
  DeformTap<T> tap(std::int64_t image, std::int64_t g, std::int64_t t) const {
    const ConvShape& conv = shape_.conv;
    const T* y = offset_ + offset_at(image, g, t);
    return {conv.y,
            conv.x,
            t / conv.x.kernel,
            t % conv.x.kernel,
            y,
            y + offset_layout_.channel,
            mask_ ? mask_ + mask_at(image, g, t) : nullptr,
            offset_layout_.cell,
            mask_layout_.cell};
  }
  std::int64_t offset_at(std::int64_t image, std::int64_t g, std::int64_t t) const {
    return image * offset_layout_.image + 2 * (g * shape_.conv.taps() + t) * offset_layout_.channel;
  }
  std::int64_t offset_channel() const { return offset_layout_.channel; }
  std::int64_t mask_at(std::int64_t image, std::int64_t g, std::int64_t t) const {
    return image * mask_layout_.image + (g * shape_.conv.taps() + t) * mask_layout_.channel;
  }

 private:
  const DeformShape& shape_;
  const T *offset_, *mask_;
  const DeformLayout offset_layout_, mask_layout_;
};

// The images. Planes are turned channels-last one image at a time, if that takes no more than half of what input,
// output and weights take; otherwise they are read where they lie, a channel at a time.
template <class T>
class DeformImages {
  using A = decltype(to_float(T{}));

 public:
  DeformImages(const TensorView& input, const DeformShape& shape)
      : shape_(shape),
        data_(input.ptr<const T>()),
        layout_(input),
        turns_(turns(shape)),
        turned_(turns_ ? layout_.image : 0) {
    advise_huge_pages(turned_.data(), turned_.size() * sizeof(T));
  }

  // Images that can be read together from load(first) on.
  std::int64_t at_once() const { return turns_ ? 1 : std::max<std::int64_t>(1, shape_.conv.images); }

  void load(std::int64_t image) {
    if (!turns_) return;
    const std::int64_t channels = shape_.conv.channels, cells = shape_.cells();
    parallel_for((cells + kTurned - 1) / kTurned, 4, [&](std::int64_t begin, std::int64_t end) {
      const Scratch<A> wide(std::is_same_v<T, A> ? 0 : kTurned * channels);
      for (std::int64_t first = begin * kTurned; first < std::min(cells, end * kTurned); first += kTurned)
        turn(data_ + image * layout_.image + first, std::min(kTurned, cells - first), wide.data(),
             turned_.data() + first * channels);
    });
  }

  DeformCells<const T> cells(std::int64_t image, std::int64_t channel) const {
    const std::int64_t cell = turns_ ? shape_.conv.channels : layout_.cell, step = turns_ ? 1 : layout_.channel;
    const T* data = turns_ ? turned_.data() : data_ + image * layout_.image;
    return {data + channel * step, shape_.conv.x.in * cell, cell, step};
  }

 private:
  static constexpr std::int64_t kTurned = 64;  // cells: a page of each plane at most, in float32 four lines

  bool turns(const DeformShape& shape) const {
    const ConvShape& conv = shape.conv;
    const std::int64_t all = conv.images * (layout_.image + conv.out_channels * shape.results()) +
                             conv.out_channels * conv.group_channels() * conv.taps();
    return layout_.channel != 1 && 2 * layout_.image <= all;
  }

  void turn(const T* planes, std::int64_t count, A* wide, T* to) const {
    const std::int64_t channels = shape_.conv.channels, area = shape_.cells();
    const auto pack = channel_block_kernels().get<T>().pack;
    if constexpr (std::is_same_v<T, A>) {
      pack(planes, area, channels, count, to, channels);
    } else {
      pack(planes, area, channels, count, wide, channels);
      for (std::int64_t i = 0; i < count * channels; ++i) to[i] = from_float<T>(wide[i]);
    }
  }

  const DeformShape& shape_;
  const T* data_;
  const DeformLayout layout_;
  const bool turns_;
  const Scratch<T> turned_;
};

// Channels [first, first + count) in the pieces that share their offsets: body(offset group, first channel, channels).
template <class Body>
void for_offset_groups(const DeformShape& shape, std::int64_t first, std::int64_t count, const Body& body) {
  for (std::int64_t c = first; c < first + count;) {
    const std::int64_t g = c / shape.offset_channels(),
                       end = std::min(first + count, (g + 1) * shape.offset_channels());
    body(g, c, end - c);
    c = end;
  }
}

}  // namespace saccade
