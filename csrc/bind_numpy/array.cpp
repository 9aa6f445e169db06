#include "bind_numpy/array.h"

#include "bind_numpy/recycle.h"

namespace saccade::bind_numpy {

namespace {

DType dtype_of(const py::dtype& dtype) {
  const char kind = dtype.kind();
  const auto size = dtype.itemsize();
  if (kind == 'b') return DType::kBool;
  if (kind == 'u' && size == 1) return DType::kUInt8;
  if (kind == 'i' && size == 1) return DType::kInt8;
  if (kind == 'i' && size == 2) return DType::kInt16;
  if (kind == 'i' && size == 4) return DType::kInt32;
  if (kind == 'i' && size == 8) return DType::kInt64;
  if (kind == 'f' && size == 2) return DType::kFloat16;
  if (kind == 'f' && size == 4) return DType::kFloat32;
  if (kind == 'f' && size == 8) return DType::kFloat64;
  return DType::kUnsupported;
}

bool usable_in_place(const py::array& array) {
  const char order = array.dtype().byteorder();
  if (order == '>' || (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) == 0) return false;
  for (py::ssize_t d = 0; d < array.ndim(); ++d)
    if (array.strides(d) % array.itemsize() != 0) return false;
  return true;
}

TensorView view_of(const py::array& array) {
  TensorView view;
  require(array.ndim() <= kMaxDims, "an array must have at most ", kMaxDims, " dimensions, got ", array.ndim());
  view.data = const_cast<void*>(array.data());
  view.dtype = dtype_of(array.dtype());
  view.ndim = static_cast<int>(array.ndim());
  for (int d = 0; d < view.ndim; ++d) {
    view.sizes[d] = array.shape(d);
    view.strides[d] = array.itemsize() == 0 ? 0 : array.strides(d) / array.itemsize();
  }
  return view;
}

}  // namespace

Input::Input(const py::object& object) : array_(py::array::ensure(object)) {
  if (!array_) throw py::error_already_set();
  if (!usable_in_place(array_)) array_ = array_.attr("astype")(array_.dtype().attr("newbyteorder")("="), "C");
  view_ = view_of(array_);
}

TensorView output_view(py::array& array) {
  TensorView view = view_of(array);
  view.data = array.mutable_data();
  return view;
}

py::array empty(const std::vector<std::int64_t>& sizes, DType dtype) {
  const std::vector<py::ssize_t> shape(sizes.begin(), sizes.end());
  double bytes = static_cast<double>(dtype_size(dtype));  // sizes may overflow: NumPy says so below
  for (std::int64_t size : sizes) bytes *= static_cast<double>(size);
  if (bytes < static_cast<double>(kRecycleFrom) || bytes > static_cast<double>(kKeep))
    return py::array(py::dtype(dtype_name(dtype)), shape);
  struct Owner {
    void* memory;
    std::size_t bytes;
    ~Owner() { give_block(memory, bytes); }
  };
  const auto count = static_cast<std::size_t>(bytes);
  auto* owner = new Owner{take_block(count), count};
  const py::capsule base(owner, [](void* pointer) { delete static_cast<Owner*>(pointer); });
  return py::array(py::dtype(dtype_name(dtype)), shape, owner->memory, base);
}

std::vector<Register>& registry() {
  static std::vector<Register> functions;
  return functions;
}

}  // namespace saccade::bind_numpy
