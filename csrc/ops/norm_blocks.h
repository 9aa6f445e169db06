// The fixed partition of batch_norm: which elements a block holds depends on the shape alone, never on the threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/parallel.h"
#include "kernels/batch_norm.h"
#include "ops/batch_norm.h"

namespace saccade {

// Planes: a group per channel, whose planes are cut in chunks of about 16 KiB, or gathered where they are smaller.
// Rows: one group, chunks of whole rows, of about 32 KiB.
class NormBlocks {
 public:
  explicit NormBlocks(const NormShape& of) : shape(of) {
    if (shape.rows) {
      groups = 1, width = shape.channels, pitch = (width + kNormPadding - 1) / kNormPadding * kNormPadding;
      step_ = std::clamp<std::int64_t>(kElements * 2 / width / 4 * 4, 32, 1024);
      chunks = (shape.outer + step_ - 1) / step_;
    } else if (shape.inner > kElements) {
      groups = shape.channels, width = pitch = 1;
      pieces_ = (shape.inner + kElements - 1) / kElements;
      piece_ = ((shape.inner + pieces_ - 1) / pieces_ + 63) / 64 * 64;  // whole lines, for streaming
      pieces_ = (shape.inner + piece_ - 1) / piece_;
      chunks = shape.outer * pieces_;
    } else {
      groups = shape.channels, width = pitch = 1;
      step_ = kElements / shape.inner;
      chunks = (shape.outer + step_ - 1) / step_;
    }
  }

  NormBlock block(std::int64_t group, std::int64_t k) const {
    const std::int64_t plane = shape.rows ? shape.channels : shape.channels * shape.inner;
    const std::int64_t base = shape.rows ? 0 : group * shape.inner, run = shape.rows ? shape.channels : shape.inner;
    if (pieces_ > 0) {
      const std::int64_t begin = k % pieces_ * piece_;
      return {base + k / pieces_ * plane + begin, 1, plane, std::min(piece_, shape.inner - begin), group};
    }
    const std::int64_t first = k * step_;
    return {base + first * plane, std::min(step_, shape.outer - first), plane, run, group};
  }

  // Elements per channel of each chunk.
  std::vector<double> counts() const {
    std::vector<double> result(chunks);
    for (std::int64_t k = 0; k < chunks; ++k) {
      const NormBlock at = block(0, k);
      result[k] = static_cast<double>(at.outer * (shape.rows ? 1 : at.inner));
    }
    return result;
  }

  // body(group, k) for every chunk. The last first, for the sake of what is left in the cache, was slower.
  template <class Body>
  void each(const Body& body) const {
    parallel_for(groups * chunks, grain(), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) body(i / chunks, i % chunks);
    });
  }

  // measure(group, k) for every chunk of a group, then finish(group, begin, end) for its channels, then apply(group,
  // k). With channels enough for the threads a channel is finished at once: it is read for the second time from the
  // cache of the core. A channel of 8 x 64 x 112 x 112 has 400 KB.
  template <class Measure, class Finish, class Apply>
  void measure_then_apply(const Measure& measure, const Finish& finish, const Apply& apply) const {
    if (groups >= 2 * omp_get_max_threads()) {
      parallel_for(groups, std::max<std::int64_t>(1, grain() / chunks), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t group = begin; group < end; ++group) {
          for (std::int64_t k = 0; k < chunks; ++k) measure(group, k);
          finish(group, std::int64_t{0}, width);
          for (std::int64_t k = 0; k < chunks; ++k) apply(group, k);
        }
      });
      return;
    }
    parallel_for(groups * chunks, grain(), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) measure(i / chunks, i % chunks);
    });
    constexpr std::int64_t kSlice = 64;
    const std::int64_t slices = (width + kSlice - 1) / kSlice;
    parallel_for(groups * slices, std::max<std::int64_t>(1, 4096 / chunks), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        finish(i / slices, i % slices * kSlice, std::min(width, (i % slices + 1) * kSlice));
    });
    each(apply);
  }

  const NormShape shape;
  std::int64_t groups, chunks, width, pitch;  // pitch: of the arrays by channel of a chunk

 private:
  static constexpr std::int64_t kElements = 4096;
  // Chunks that are worth a thread: about 64 KiB.
  std::int64_t grain() const {
    const std::int64_t size = std::max<std::int64_t>(1, shape.count * shape.channels / (groups * chunks));
    return std::max<std::int64_t>(1, 4 * kElements / size);
  }

  std::int64_t step_ = 0, pieces_ = 0, piece_ = 0;
};

}  // namespace saccade
