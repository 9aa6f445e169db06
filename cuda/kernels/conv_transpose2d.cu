// conv_transpose2d: the gradient of conv2d by its input, which gathers: every result sums over the cells that reach it,
// class by class of the remainders by the stride (AxisClass in conv2d_problem.cuh), so that no product is wasted.
#include "cuda/kernels/conv_transpose2d.h"

namespace saccade::cuda {

template <class T>
void launch_conv_transpose2d(const ConvShape& shape, bool channels_last, const T* input, const T* packed,
                             const ConvTail<T>& tail, T* out, cudaStream_t stream) {
  launch_conv2d_backward_input(shape, channels_last, input, packed, tail, out, stream);
}

#define SACCADE_INSTANTIATE(T)                                                                              \
  template void launch_conv_transpose2d(const ConvShape&, bool, const T*, const T*, const ConvTail<T>&, T*, \
                                        cudaStream_t);
SACCADE_INSTANTIATE(Float16)
SACCADE_INSTANTIATE(BFloat16)
SACCADE_INSTANTIATE(float)
SACCADE_INSTANTIATE(double)
#undef SACCADE_INSTANTIATE

}  // namespace saccade::cuda
