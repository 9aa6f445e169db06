// Maximum and minimum over sliding windows: max_pool2d(input, ...) -> output, indices; min_pool2d likewise.
//
// input (n, c, h, w), contiguous or channels_last; output (n, c, out_h, out_w) in the same memory format, and where
// each maximum is: row * w + column, int64. Semantics of torch.nn.functional.max_pool2d: padding is never the maximum,
// the first of equal maxima in row order wins, a NaN wins over every number and the last NaN over the others. A window
// without a cell (a dilated kernel can step over all of them) gives -inf, and -1 where torch gives an index outside the
// plane. The minimum is the negated maximum of the negated input.
#pragma once

#include "ops/pool2d.h"

namespace saccade {

// indices.data may be null: they are not wanted then. All views in one memory format.
void max_pool2d(const TensorView& input, const WindowShape& shape, bool minimum, const TensorView& out,
                const TensorView& indices);

// grad and indices in the memory format of grad_input, every element of which is written. A cell's windows are summed
// in row order whatever the number of threads.
void check_max_pool2d_backward(const TensorView& grad, const TensorView& indices, const TensorView& grad_input,
                               const WindowShape& shape);
void max_pool2d_backward(const TensorView& grad, const TensorView& indices, const WindowShape& shape,
                         const TensorView& grad_input);

}  // namespace saccade
