// Fewer page faults on large results: fresh memory comes from the kernel 4 KiB at a time unless it is asked for more.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace saccade {

// Call it on a large output before the first write. Asks for 2 MiB pages on the part of the memory that whole such
// pages cover; a hint that may be ignored. Measured: writing a fresh 200 MB tensor 55 ms -> 27 ms (one thread).
inline void advise_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t kPage = std::uintptr_t{2} << 20;
  const auto begin = (reinterpret_cast<std::uintptr_t>(data) + kPage - 1) / kPage * kPage;
  const auto end = (reinterpret_cast<std::uintptr_t>(data) + bytes) / kPage * kPage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace saccade
