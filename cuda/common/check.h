// CUDA's error codes as exceptions.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace saccade::cuda {

// Becomes a RuntimeError in Python.
inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) {
    throw std::runtime_error("saccade: " + std::string(what) + ": " + cudaGetErrorString(status));
  }
}

}  // namespace saccade::cuda
