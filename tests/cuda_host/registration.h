// Registration of the operators in the host build: under torch's CPU key, the CUDA kernel of an operator where there is
// one, else its CPU kernel, so that the package works whatever part of it has CUDA kernels.
#pragma once

#include <torch/csrc/stable/library.h>

#include <cstdint>

namespace cuda_host {

enum class Origin { kCpu, kCuda };

// Stands in for torch's library object while the static constructors of all files run.
class Recorder {
 public:
  using Kernel = void (*)(StableIValue*, std::uint64_t, std::uint64_t);
  Recorder(Origin origin, void (*fill)(Recorder&)) : origin_(origin) { fill(*this); }
  Recorder& impl(const char* name, Kernel kernel);

 private:
  Origin origin_;
};

}  // namespace cuda_host

#define SACCADE_HOST_REGISTRATION(origin, m)                                                                         \
  static void saccade_fill_##origin(::cuda_host::Recorder&);                                                         \
  static const ::cuda_host::Recorder saccade_recorder_##origin(::cuda_host::Origin::origin, &saccade_fill_##origin); \
  static void saccade_fill_##origin(::cuda_host::Recorder& m)
