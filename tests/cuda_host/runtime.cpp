#include "runtime.h"

#include <algorithm>
#include <deque>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "cuda_runtime.h"
#include "fiber.h"

namespace cuda_host {
namespace {

enum class State { kReady, kAtBarrier, kInWarp, kExited };

struct Thread {
  Fiber fiber;
  uint3 index;
  int warp, lane;
  State state;
  const char* name;  // what it waits in, and where
  Where where;
  WarpCall call;
  std::uint64_t result;
  bool predicate;
};

std::string describe(const char* name, const Where& where) {
  std::ostringstream text;
  text << name << " (" << where.file_name() << ":" << where.line() << ")";
  return text.str();
}

// The block that is running. One at a time in the process: `launch_mutex`.
class Block {
 public:
  void run(Dim3 shape, void (*body)(void*), void* context);
  int barrier(const char* name, bool predicate, Where where);
  std::uint64_t warp(const WarpCall& call, Where where);
  std::uint64_t serial = 0;
  std::unique_ptr<unsigned char[]> shared;

 private:
  static void enter(void* block);
  void resume(Thread& thread);
  void complete_barrier();
  void complete_warp(Thread& last);
  [[noreturn]] void stuck() const;
  std::string place(const Thread& thread) const;

  std::deque<Thread> threads_;  // kept from block to block, for their stacks
  int count_ = 0, waiting_ = 0;
  unsigned arrived_[kMaxThreads / kWarpSize] = {};  // by warp: the lanes that wait in a warp operation
  Thread* current_ = nullptr;
  void (*body_)(void*) = nullptr;
  void* context_ = nullptr;
  std::exception_ptr error_;
};

Block block;
std::mutex launch_mutex;

std::string Block::place(const Thread& thread) const {
  std::ostringstream text;
  text << "thread (" << thread.index.x << ", " << thread.index.y << ", " << thread.index.z << ") of block ("
       << ::blockIdx.x << ", " << ::blockIdx.y << ", " << ::blockIdx.z << ")";
  return text.str();
}

void Block::enter(void* self) {
  auto& running = *static_cast<Block*>(self);
  Thread& thread = *running.current_;
  try {
    running.body_(running.context_);
  } catch (...) {
    running.error_ = std::current_exception();
  }
  thread.state = State::kExited;
}

void Block::resume(Thread& thread) {
  current_ = &thread;
  ::threadIdx = thread.index;
  thread.fiber.resume();
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Block::run(Dim3 shape, void (*body)(void*), void* context) {
  ++serial;
  count_ = static_cast<int>(shape.x * shape.y * shape.z);
  waiting_ = 0;
  std::fill(std::begin(arrived_), std::end(arrived_), 0u);
  body_ = body;
  context_ = context;
  while (static_cast<int>(threads_.size()) < count_) threads_.emplace_back();
  for (int i = 0; i < count_; ++i) {
    Thread& thread = threads_[i];
    const auto u = static_cast<unsigned>(i);
    thread.index = {u % shape.x, u / shape.x % shape.y, u / shape.x / shape.y};
    thread.warp = i / kWarpSize;
    thread.lane = i % kWarpSize;
    thread.state = State::kReady;
    thread.fiber.prepare(&Block::enter, this);
  }
  bool descending = serial % 2 == 0;
  for (int exited = 0; exited < count_; descending = !descending) {
    bool progress = false;
    exited = 0;
    for (int i = 0; i < count_; ++i) {
      Thread& thread = threads_[descending ? count_ - 1 - i : i];
      if (thread.state == State::kReady) resume(thread), progress = true;
      exited += thread.state == State::kExited;
    }
    if (!progress && exited < count_) stuck();
  }
}

int Block::barrier(const char* name, bool predicate, Where where) {
  Thread& thread = *current_;
  thread.state = State::kAtBarrier;
  thread.name = name;
  thread.where = where;
  thread.predicate = predicate;
  if (++waiting_ == count_) complete_barrier();
  thread.fiber.suspend();
  return static_cast<int>(thread.result);
}

void Block::complete_barrier() {
  std::uint64_t true_count = 0;
  const Thread& first = threads_[0];
  for (int i = 0; i < count_; ++i) {
    const Thread& thread = threads_[i];
    if (thread.where.line() != first.where.line() ||
        std::strcmp(thread.where.file_name(), first.where.file_name()) != 0) {
      throw std::runtime_error("mismatched barriers: " + place(first) + " waits in " +
                               describe(first.name, first.where) + ", " + place(thread) + " in " +
                               describe(thread.name, thread.where));
    }
    true_count += thread.predicate;
  }
  for (int i = 0; i < count_; ++i) {
    threads_[i].state = State::kReady;
    threads_[i].result = true_count;
  }
  waiting_ = 0;
}

std::uint64_t Block::warp(const WarpCall& call, Where where) {
  Thread& thread = *current_;
  thread.state = State::kInWarp;
  thread.name = call.name;
  thread.where = where;
  thread.call = call;
  if (!(call.mask >> thread.lane & 1u)) {
    throw std::runtime_error(describe(call.name, where) + ": " + place(thread) + " is not in its own mask");
  }
  complete_warp(thread);
  thread.fiber.suspend();
  return thread.result;
}

// The lane whose value a shuffle gives to `lane`: `lane` itself where the source lies outside its group.
int shuffle_source(const WarpCall& call, int lane) {
  const int first = lane & ~(call.width - 1), last = first + call.width - 1;
  switch (call.op) {
    case WarpOp::kShuffle: return first + (call.argument & (call.width - 1));
    case WarpOp::kShuffleUp: return lane - call.argument < first ? lane : lane - call.argument;
    case WarpOp::kShuffleDown: return lane + call.argument > last ? lane : lane + call.argument;
    default: return (lane ^ call.argument) > last ? lane : lane ^ call.argument;
  }
}

std::uint64_t combine(WarpOp op, std::uint64_t a, std::uint64_t b) {
  const auto x = static_cast<std::int64_t>(a), y = static_cast<std::int64_t>(b);
  switch (op) {
    case WarpOp::kAdd: return a + b;
    case WarpOp::kMin: return x < y ? a : b;
    case WarpOp::kMax: return x > y ? a : b;
    case WarpOp::kAnd: return a & b;
    case WarpOp::kOr: return a | b;
    default: return a ^ b;
  }
}

void Block::complete_warp(Thread& last) {
  const unsigned mask = last.call.mask;
  unsigned& arrived = arrived_[last.warp];
  arrived |= 1u << last.lane;
  if (const int lanes = std::min(kWarpSize, count_ - last.warp * kWarpSize); lanes < kWarpSize && mask >> lanes) {
    throw std::runtime_error(describe(last.name, last.where) + ": the mask names lanes that the block does not have");
  }
  if ((arrived & mask) != mask) return;
  arrived &= ~mask;
  Thread* lanes[kWarpSize] = {};
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if (mask >> lane & 1u) lanes[lane] = &threads_[last.warp * kWarpSize + lane];
  }
  std::uint64_t ballot = 0, reduced = 0;
  bool first = true;
  for (Thread* thread : lanes) {
    if (!thread) continue;
    if (thread->call.op != last.call.op || thread->call.mask != mask || thread->where.line() != last.where.line()) {
      throw std::runtime_error("mismatched warp operations: " + place(last) + " waits in " +
                               describe(last.name, last.where) + ", " + place(*thread) + " in " +
                               describe(thread->name, thread->where));
    }
    if (thread->call.value) ballot |= std::uint64_t{1} << thread->lane;
    reduced = first ? thread->call.value : combine(last.call.op, reduced, thread->call.value);
    first = false;
  }
  for (Thread* thread : lanes) {
    if (!thread) continue;
    const WarpCall& call = thread->call;
    thread->state = State::kReady;
    if (call.op >= WarpOp::kShuffle && call.op <= WarpOp::kShuffleXor) {
      const int source = shuffle_source(call, thread->lane);
      if (source < 0 || !lanes[source]) {
        throw std::runtime_error(describe(call.name, thread->where) + ": " + place(*thread) + " reads lane " +
                                 std::to_string(source) + ", which is not in the mask");
      }
      thread->result = lanes[source]->call.value;
    } else if (call.op == WarpOp::kMatchAny) {
      thread->result = 0;
      for (Thread* other : lanes) {
        if (other && other->call.value == call.value) thread->result |= std::uint64_t{1} << other->lane;
      }
    } else {
      thread->result = call.op == WarpOp::kBallot ? ballot : reduced;
    }
  }
}

void Block::stuck() const {
  std::string text = "divergent barrier: ";
  const Thread *waiting = nullptr, *other = nullptr;
  for (int i = 0; i < count_; ++i) {
    const Thread& thread = threads_[i];
    if (!waiting && thread.state != State::kExited) waiting = &thread;
  }
  for (int i = 0; i < count_; ++i) {
    const Thread& thread = threads_[i];
    const bool differs = thread.state == State::kExited || thread.where.line() != waiting->where.line();
    if (!other && differs) other = &thread;
  }
  text += place(*waiting) + " waits in " + describe(waiting->name, waiting->where);
  if (other) {
    text += ", but " + place(*other);
    text += other->state == State::kExited ? std::string(" has returned")
                                           : " waits in " + describe(other->name, other->where);
  }
  throw std::runtime_error(text);
}

}  // namespace

void run_grid(Dim3 grid, Dim3 shape, std::size_t shared_bytes, void (*body)(void*), void* context) {
  std::lock_guard<std::mutex> lock(launch_mutex);
  ::gridDim = {grid.x, grid.y, grid.z};
  ::blockDim = {shape.x, shape.y, shape.z};
  block.shared.reset(shared_bytes ? new unsigned char[shared_bytes] : nullptr);
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  for (std::uint64_t b = 0; b < blocks; ++b) {
    ::blockIdx = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                  static_cast<unsigned>(b / grid.x / grid.y)};
    if (shared_bytes) std::memset(block.shared.get(), kPoison, shared_bytes);
    block.run(shape, body, context);
  }
  block.shared.reset();
}

void* dynamic_shared() {
  if (!block.shared) throw std::runtime_error("dynamic_shared in a kernel that was started without shared_bytes");
  return block.shared.get();
}

std::uint64_t block_serial() { return block.serial; }

int barrier(const char* name, bool predicate, Where where) { return block.barrier(name, predicate, where); }

std::uint64_t warp(const WarpCall& call, Where where) { return block.warp(call, where); }

}  // namespace cuda_host

// ---- CUDA's runtime -------------------------------------------------------------------------------------------------

namespace {
std::string last_failure;
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorLaunchFailure: break;
  }
  return last_failure.c_str();
}

cudaError_t cuda_host::run_kernel(const cudaLaunchConfig_t& config, void (*body)(void*), void* context) {
  const dim3 grid = config.gridDim, shape = config.blockDim;
  const std::uint64_t threads = std::uint64_t{shape.x} * shape.y * shape.z;
  const bool valid = threads > 0 && threads <= kMaxThreads && shape.z <= 64 && grid.x > 0 && grid.x <= 0x7fffffff &&
                     grid.y > 0 && grid.y <= 65535 && grid.z > 0 && grid.z <= 65535;
  if (!valid) return cudaErrorInvalidConfiguration;
  try {
    run_grid({grid.x, grid.y, grid.z}, {shape.x, shape.y, shape.z}, config.dynamicSmemBytes, body, context);
  } catch (const std::exception& error) {
    last_failure = error.what();
    return cudaErrorLaunchFailure;
  }
  return cudaSuccess;
}
