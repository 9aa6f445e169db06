#include "bind_numpy/recycle.h"

#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace saccade::bind_numpy {

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

struct Block {
  void* memory;
  std::size_t bytes;
};

struct Waiting {
  std::mutex mutex;
  std::vector<Block> blocks;  // the one freed last is the last
  std::size_t bytes = 0;
};

// Never destroyed: arrays may outlive the module's static objects.
Waiting& waiting() {
  static Waiting* const list = new Waiting;
  return *list;
}

std::size_t rounded(std::size_t bytes) { return (bytes + kHugePage - 1) / kHugePage * kHugePage; }

}  // namespace

void* take_block(std::size_t bytes) {
  const std::size_t size = rounded(bytes);
  if (size < bytes) throw std::bad_alloc();
  Waiting& list = waiting();
  {
    const std::lock_guard lock(list.mutex);
    for (std::size_t i = list.blocks.size(); i-- > 0;) {
      if (list.blocks[i].bytes != size) continue;
      void* memory = list.blocks[i].memory;
      list.blocks.erase(list.blocks.begin() + static_cast<std::ptrdiff_t>(i));
      list.bytes -= size;
      return memory;
    }
  }
  void* memory = std::aligned_alloc(kHugePage, size);
  if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  madvise(memory, size, MADV_HUGEPAGE);  // as NumPy does for its own large arrays
#endif
  return memory;
}

void give_block(void* block, std::size_t bytes) noexcept {
  const std::size_t size = rounded(bytes);
  std::vector<Block> dropped;
  try {
    Waiting& list = waiting();
    const std::lock_guard lock(list.mutex);
    list.blocks.reserve(list.blocks.size() + 1);
    dropped.reserve(list.blocks.size() + 1);
    if (size <= kKeep) {
      list.blocks.push_back({block, size});
      list.bytes += size;
      block = nullptr;
    }
    std::size_t first = 0;
    for (; list.bytes > kKeep; ++first) {  // those that have waited longest
      dropped.push_back(list.blocks[first]);
      list.bytes -= list.blocks[first].bytes;
    }
    list.blocks.erase(list.blocks.begin(), list.blocks.begin() + static_cast<std::ptrdiff_t>(first));
  } catch (const std::bad_alloc&) {
    // No room for the list: the block is freed below.
  }
  for (const Block& old : dropped) std::free(old.memory);
  std::free(block);
}

}  // namespace saccade::bind_numpy
