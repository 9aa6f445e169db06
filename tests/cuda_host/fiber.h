// A stack of its own for every CUDA thread, so that a thread can stop at a barrier and let the others run.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_host {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next resume() calls entry(argument), which must not throw. Whatever ran on this stack before is forgotten.
  void prepare(void (*entry)(void*), void* argument);
  // Called outside all fibers: runs this one until it suspends or its entry returns.
  void resume();
  // Called on this fiber: returns to the caller of resume().
  void suspend();

 private:
  static void run(Fiber* fiber);
  void leave(void** fake_stack);

  static constexpr std::size_t kStackBytes = 256 * 1024;  // AddressSanitizer makes frames several times larger
  char* stack_;
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
#if defined(__x86_64__)
  void *pointer_ = nullptr, *outside_ = nullptr;  // stack pointers of the fiber and of the caller of resume()
  friend void fiber_entry();
#else
  ucontext_t context_, outside_;
#endif
  const void* outside_stack_ = nullptr;  // for the sanitizer
  std::size_t outside_bytes_ = 0;
};

}  // namespace cuda_host
