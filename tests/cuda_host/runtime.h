// Runs a grid on the CPU: block after block, each thread of a block on a fiber, all on the calling thread.
//
// Stricter than a GPU where the GPU would let a mistake pass: a thread that exits while others wait for it, and threads
// that meet at different barriers, are errors; shared memory starts as NaN (all bits set) in every block; threads run
// in ascending order up to one barrier and in descending order up to the next, so that a missing barrier changes
// results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <source_location>

namespace cuda_host {

using Where = std::source_location;

struct Dim3 {
  unsigned x, y, z;
};

constexpr int kWarpSize = 32, kMaxThreads = 1024;
constexpr int kPoison = 0xff;

// Throws std::runtime_error when a thread breaks a rule.
void run_grid(Dim3 grid, Dim3 block, std::size_t shared_bytes, void (*body)(void*), void* context);

void* dynamic_shared();
std::uint64_t block_serial();  // a number that no other block of the process has

// Barriers over the block; the result counts the threads whose predicate is not zero.
int barrier(const char* name, bool predicate, Where where);

enum class WarpOp {
  kSync,
  kShuffle,
  kShuffleUp,
  kShuffleDown,
  kShuffleXor,
  kBallot,
  kMatchAny,
  kAdd,
  kMin,
  kMax,
  kAnd,
  kOr,
  kXor
};

// An exchange among the lanes of `mask`, each of which must call it at the same place.
struct WarpCall {
  WarpOp op;
  const char* name;
  unsigned mask;
  std::uint64_t value = 0;  // the bits, or the number itself for sums, minima and the like
  int argument = 0;         // of a shuffle: source lane, delta or lane mask
  int width = kWarpSize;
};
std::uint64_t warp(const WarpCall& call, Where where);

// A __shared__ variable (SACCADE_SHARED). On the heap, where AddressSanitizer guards its ends.
template <class T>
class SharedVariable {
 public:
  T& of_this_block() {
    if (!storage_) storage_ = operator new(sizeof(T), std::align_val_t{alignof(T)});
    if (block_ != block_serial()) {
      block_ = block_serial();
      std::memset(storage_, kPoison, sizeof(T));
    }
    return *static_cast<T*>(storage_);
  }

 private:
  void* storage_ = nullptr;
  std::uint64_t block_ = 0;
};

}  // namespace cuda_host
