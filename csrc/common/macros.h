// Attributes shared by host and device code.
#pragma once

// A small function that kernels of every instruction set and both devices include. It has internal linkage and is
// always inlined, so that no copy compiled for one instruction set can be merged into code built for another.
#if defined(__CUDACC__)
#define SACCADE_HD [[maybe_unused]] static __host__ __device__ __forceinline__
#else
#define SACCADE_HD [[maybe_unused]] static inline __attribute__((always_inline))
#endif

#define SACCADE_RESTRICT __restrict__
