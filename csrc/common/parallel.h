// Threads for the CPU operators: OpenMP, the runtime that torch uses, so that one setting governs both.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

namespace saccade {

// Calls body(begin, end) on disjoint pieces of [0, count) that cover it, at most one piece per `grain` elements.
// A body must give the same result wherever the pieces are cut: results do not depend on the number of threads.
template <class Body>
void parallel_for(std::int64_t count, std::int64_t grain, const Body& body) {
  if (count <= 0) return;
  const std::int64_t pieces = (count + grain - 1) / grain;
  const int threads = static_cast<int>(std::min<std::int64_t>(omp_get_max_threads(), pieces));
  if (threads <= 1 || omp_in_parallel()) {
    body(std::int64_t{0}, count);
    return;
  }
  std::exception_ptr error;
#pragma omp parallel num_threads(threads)
  {
    const std::int64_t rank = omp_get_thread_num(), team = omp_get_num_threads();
    const std::int64_t begin = count * rank / team, end = count * (rank + 1) / team;
    try {
      if (begin < end) body(begin, end);
    } catch (...) {
#pragma omp critical(saccade_parallel_for)
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

// The same over [0, count) in blocks of `block`, handed out as threads become free: for uneven work.
template <class Body>
void parallel_for_dynamic(std::int64_t count, std::int64_t block, const Body& body) {
  if (count <= 0) return;
  const std::int64_t blocks = (count + block - 1) / block;
  const int threads = static_cast<int>(std::min<std::int64_t>(omp_get_max_threads(), blocks));
  if (threads <= 1 || omp_in_parallel()) {
    for (std::int64_t b = 0; b < blocks; ++b) body(b * block, std::min(count, (b + 1) * block));
    return;
  }
  std::exception_ptr error;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (std::int64_t b = 0; b < blocks; ++b) {
    try {
      body(b * block, std::min(count, (b + 1) * block));
    } catch (...) {
#pragma omp critical(saccade_parallel_for)
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace saccade
