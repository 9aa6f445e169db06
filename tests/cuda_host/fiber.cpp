#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace cuda_host {
namespace {

// AddressSanitizer must know which stack is in use; without it these do nothing.
#if defined(__SANITIZE_ADDRESS__)
void announce_switch(void** save, const void* stack, std::size_t bytes) {
  __sanitizer_start_switch_fiber(save, stack, bytes);
}
void finish_switch(void* saved, const void** stack, std::size_t* bytes) {
  __sanitizer_finish_switch_fiber(saved, stack, bytes);
}
void forget_frames(const void* stack, std::size_t bytes) { __asan_unpoison_memory_region(stack, bytes); }
#else
void announce_switch(void**, const void*, std::size_t) {}
void finish_switch(void*, const void**, std::size_t*) {}
void forget_frames(const void*, std::size_t) {}
#endif

#if defined(__x86_64__)
// Saves the callee-saved registers on this stack and its pointer in *save, and continues where `load` was saved.
// swapcontext would make a system call each time, for the signal mask: about 15 times slower.
__attribute__((naked, noinline)) void switch_stack(void** /*save*/, void* /*load*/) {
  asm volatile(
      "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
      "movq %rsp, (%rdi)\n"
      "movq %rsi, %rsp\n"
      "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n"
      "ret\n");
}

Fiber* starting = nullptr;
#endif

}  // namespace

Fiber::Fiber() {
  void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, 4096, PROT_NONE);  // a kernel that overruns its stack stops here
  stack_ = static_cast<char*>(memory);
}

Fiber::~Fiber() { munmap(stack_, kStackBytes); }

void Fiber::run(Fiber* fiber) {
  finish_switch(nullptr, &fiber->outside_stack_, &fiber->outside_bytes_);
  fiber->entry_(fiber->argument_);
  fiber->leave(nullptr);
}

#if defined(__x86_64__)
void fiber_entry() { Fiber::run(starting); }
#endif

void Fiber::prepare(void (*entry)(void*), void* argument) {
  forget_frames(stack_, kStackBytes);
  entry_ = entry;
  argument_ = argument;
#if defined(__x86_64__)
  // As switch_stack leaves a stack: six registers, then the address it returns to. The zero above is where fiber_entry
  // would return to, and makes its stack aligned as after a call.
  auto* top = reinterpret_cast<std::uintptr_t*>(stack_ + kStackBytes) - 1;
  top[0] = 0;
  top[-1] = reinterpret_cast<std::uintptr_t>(&fiber_entry);
  for (int i = 2; i <= 7; ++i) top[-i] = 0;
  pointer_ = top - 7;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = kStackBytes;
  context_.uc_link = nullptr;
  const auto address = reinterpret_cast<std::uintptr_t>(this);
  auto start = +[](unsigned high, unsigned low) {
    run(reinterpret_cast<Fiber*>(static_cast<std::uintptr_t>(high) << 32 | low));
  };
  makecontext(&context_, reinterpret_cast<void (*)()>(start), 2, static_cast<unsigned>(address >> 32),
              static_cast<unsigned>(address));
#endif
}

void Fiber::resume() {
  void* fake_stack = nullptr;
  announce_switch(&fake_stack, stack_, kStackBytes);
#if defined(__x86_64__)
  starting = this;
  switch_stack(&outside_, pointer_);
#else
  swapcontext(&outside_, &context_);
#endif
  finish_switch(fake_stack, nullptr, nullptr);
}

void Fiber::leave(void** fake_stack) {
  announce_switch(fake_stack, outside_stack_, outside_bytes_);
#if defined(__x86_64__)
  switch_stack(&pointer_, outside_);
#else
  swapcontext(&context_, &outside_);
#endif
}

void Fiber::suspend() {
  void* fake_stack = nullptr;
  leave(&fake_stack);
  finish_switch(fake_stack, &outside_stack_, &outside_bytes_);
}

}  // namespace cuda_host
