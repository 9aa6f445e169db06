// Haar features of windows: haar_features(sum, tilted, table, windows) -> values (windows, features).
//
// sum and tilted are padded integral images (n, H + 1, W + 1) of n images (csrc/ops/integral_image.h), tilted only
// where the table needs it. A window is the patch of (height + 1) x (width + 1) sums from its corner on; an offset
// counts points of the patch row by row, those of the tilted patch after those of the other. A feature's value is the
// weighted sum of its points, exact modulo 2^32 (2^64) for integers; for floats points are added in the order of the
// table.
#pragma once

#include <cstdint>

#include "common/tensor_view.h"

namespace saccade {

constexpr int kHaarMaxPoints = 9;
constexpr int kHaarKindFields = 2 + kHaarMaxPoints;  // count, points, weights

struct HaarTable {
  // int32 (kinds, 11): number of features, of points (6, 8 or 9), and the points' weights.
  TensorView kinds;
  // uint16 values held as int16: for every kind a (points, features) block, one after the other.
  TensorView offsets;
  // int64 (features,): the column of the output for each feature in the order of the blocks.
  TensorView columns;
  std::int64_t width = 0, height = 0;
};

// Checks everything but the values of `windows`; `tilted` has no dtype where there is none.
void check_haar_features(const char* op, const TensorView& sum, const TensorView& tilted, const HaarTable& table,
                         const TensorView& windows);

// That nothing in the table leads outside a patch or a row of values: for tables that may come from anywhere.
void check_haar_table(const char* op, const TensorView& tilted, const HaarTable& table);

// windows: int64 (m, 3): image, x, y. values: (m, features), C-contiguous, of the dtype of `sum`.
void haar_features(const char* op, const TensorView& sum, const TensorView& tilted, const HaarTable& table,
                   const TensorView& windows, const TensorView& values);

}  // namespace saccade
