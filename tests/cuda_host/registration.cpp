// Must be the last file in the link order: static constructors run in that order, and this one registers what the
// others have recorded.
#include "registration.h"

#include <map>
#include <stdexcept>
#include <string>

namespace cuda_host {
namespace {

struct Records {
  std::map<std::string, Recorder::Kernel> cpu, cuda;
  bool registered = false;
};

Records& records() {
  static Records all;
  return all;
}

std::string join_names(const std::map<std::string, Recorder::Kernel>& kernels) {
  std::string names;
  for (const auto& [name, kernel] : kernels) names += name + "\n";
  return names;
}

}  // namespace

Recorder& Recorder::impl(const char* name, Kernel kernel) {
  Records& all = records();
  if (all.registered) throw std::logic_error(std::string(name) + ": link registration.cpp last");
  const bool added = (origin_ == Origin::kCuda ? all.cuda : all.cpu).emplace(name, kernel).second;
  if (!added) throw std::logic_error(std::string(name) + ": registered twice");
  return *this;
}

}  // namespace cuda_host

STABLE_TORCH_LIBRARY_IMPL(saccade, CPU, m) {
  auto& all = cuda_host::records();
  all.registered = true;
  for (const auto& [name, kernel] : all.cuda) m.impl(name.c_str(), kernel);
  for (const auto& [name, kernel] : all.cpu) {
    if (!all.cuda.count(name)) m.impl(name.c_str(), kernel);
  }
}

// The operators whose CUDA kernels run here, one per line.
extern "C" __attribute__((visibility("default"))) const char* saccade_cuda_host_operators() {
  static const std::string names = cuda_host::join_names(cuda_host::records().cuda);
  return names.c_str();
}
