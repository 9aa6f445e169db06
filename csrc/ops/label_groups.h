// Boxes by category, for the operators that work within each.
#pragma once

#include <cstdint>
#include <vector>

#include "common/scratch.h"
#include "common/tensor_view.h"

namespace saccade {

struct LabelGroups {
  Scratch<std::uint32_t> members;  // indices, group after group
  std::vector<std::int64_t> ends;  // group g is members[ends[g - 1], ends[g])
};

// Groups `order`, all indices of `labels` (one-dimensional, of any dtype), by equal label; each group stays in that
// order. -0 equals 0; NaN equals nothing.
LabelGroups group_by_label(const TensorView& labels, const Scratch<std::uint32_t>& order);

}  // namespace saccade
