#include "cuda/kernels/dense_crf.h"

#include "bind_torch/dense_crf.h"
#include "cuda/bind/permutohedral.h"

namespace saccade::cuda {
namespace {

template <class T>
void run_mean_field(const Tensor& unary, T sign, const std::vector<MeanFieldLattice>& lattices,
                    const std::vector<Tensor>& compatibility, std::int64_t iterations, bool normalize,
                    const Tensor& out, cudaStream_t stream) {
  const std::int64_t labels = unary.size(1), points = unary.size(2), count = unary.size(0) * points;
  if (count == 0) return;
  const Tensor all[] = {scratch<T>(count * labels, unary), scratch<T>(count * labels, unary),
                        scratch<T>(count * labels, unary)};
  T *logits = view(all[0]).template ptr<T>(), *q = view(all[1]).template ptr<T>(),
    *message = view(all[2]).template ptr<T>();
  launch_mean_field_start<T>(view(unary).template ptr<T>(), sign, count, labels, points, logits, stream);
  for (std::int64_t i = 0; i < (lattices.empty() ? 0 : iterations); ++i) {
    launch_mean_field_softmax<T>(logits, count, labels, q, stream);
    launch_mean_field_start<T>(view(unary).template ptr<T>(), sign, count, labels, points, logits, stream);
    for (std::size_t k = 0; k < lattices.size(); ++k) {
      const auto factor = [](const std::optional<TensorView>& seen) { return seen ? seen->ptr<T>() : nullptr; };
      run_lattice<T>(lattices[k].lattice, unary, q, factor(lattices[k].before), factor(lattices[k].after), labels,
                     false, message, stream);
      launch_mean_field_message<T>(message, view(compatibility[k]).template ptr<T>(), compatibility[k].dim() == 2,
                                   count, labels, logits, stream);
    }
  }
  if (normalize) launch_mean_field_softmax<T>(logits, count, labels, q, stream);
  launch_mean_field_finish<T>(normalize ? q : logits, count, labels, points, view(out).template ptr<T>(), stream);
}

Tensor mean_field(const Tensor& unary, double sign, std::vector<Tensor> lattices, std::vector<Tensor> compatibility,
                  std::int64_t iterations, bool normalize) {
  const DeviceOf device(unary);
  const std::vector<MeanFieldLattice> seen = bind_torch::mean_field_lattices(lattices);
  check_mean_field(view(unary), seen, bind_torch::views(compatibility), iterations);
  const Tensor planes = torch::stable::contiguous(unary);
  for (Tensor& matrix : compatibility) matrix = torch::stable::contiguous(matrix);
  const Tensor out = empty({unary.size(0), unary.size(1), unary.size(2)}, unary);
  if (unary.scalar_type() == ScalarType::Float)
    run_mean_field<float>(planes, static_cast<float>(sign), seen, compatibility, iterations, normalize, out,
                          device.stream());
  else
    run_mean_field<double>(planes, sign, seen, compatibility, iterations, normalize, out, device.stream());
  return out;
}

}  // namespace

SACCADE_TORCH_CUDA(m) { m.impl("_mean_field", SACCADE_BOX(mean_field)); }

}  // namespace saccade::cuda
