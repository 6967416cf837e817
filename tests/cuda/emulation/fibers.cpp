// Compile without -fsanitize, with SG_TSAN or SG_ASAN defined instead: the book-keeping is no part of the kernels.

#include "fibers.h"

#include <sys/mman.h>

#include <cstdio>
#include <stdexcept>

#ifdef SG_TSAN
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned);
void __tsan_switch_to_fiber(void*, unsigned);
void __tsan_set_fiber_name(void*, const char*);
void __tsan_acquire(void*);
void __tsan_release(void*);
}
#endif
#ifdef SG_ASAN
extern "C" {
void __sanitizer_start_switch_fiber(void**, const void*, size_t);
void __sanitizer_finish_switch_fiber(void*, const void**, size_t*);
void __asan_poison_memory_region(void const volatile*, size_t);
void __asan_unpoison_memory_region(void const volatile*, size_t);
}
#endif

#if !defined(__x86_64__)
#error "the emulation switches stacks in x86-64 assembly"
#endif

extern "C" void sg_emu_switch(void** save, void* to);
asm(R"(
.text
.p2align 4
.type sg_emu_switch,@function
sg_emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size sg_emu_switch,.-sg_emu_switch
)");

namespace sg_emu {
namespace {

constexpr size_t kGuardBytes = 4096;
void* main_pointer;
[[maybe_unused]] void* main_thread;
[[maybe_unused]] const void* main_bottom;
[[maybe_unused]] size_t main_bytes;

}  // namespace

Stack make_stack() {
  void* memory = mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no memory for an emulated thread");
  mprotect(memory, kGuardBytes, PROT_NONE);
  void* thread = nullptr;
#ifdef SG_TSAN
  thread = __tsan_create_fiber(0);
#endif
  return {static_cast<char*>(memory) + kGuardBytes, thread};
}

void* prepare_stack(const Stack& stack, void (*entry)()) {
  void** top = reinterpret_cast<void**>(stack.bottom + kStackBytes);
  *--top = nullptr;  // keeps the alignment that a call leaves
  *--top = reinterpret_cast<void*>(entry);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  return top;
}

void switch_to_fiber([[maybe_unused]] const Stack& stack, void* pointer) {
#ifdef SG_TSAN
  __tsan_switch_to_fiber(stack.tsan, 1);
#endif
#ifdef SG_ASAN
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, stack.bottom, kStackBytes);
#endif
  sg_emu_switch(&main_pointer, pointer);
#ifdef SG_ASAN
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void switch_to_main(void** saved, [[maybe_unused]] bool ends) {
#ifdef SG_TSAN
  __tsan_switch_to_fiber(main_thread, 1);
#endif
#ifdef SG_ASAN
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(ends ? nullptr : &fake, main_bottom, main_bytes);
#endif
  sg_emu_switch(saved, main_pointer);
#ifdef SG_ASAN
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void fiber_begins() {
#ifdef SG_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &main_bottom, &main_bytes);
#endif
}

void begin_launch() {
#ifdef SG_TSAN
  main_thread = __tsan_get_current_fiber();
#endif
}

void order_after([[maybe_unused]] void* tag) {
#ifdef SG_TSAN
  __tsan_acquire(tag);
#endif
}

void order_before([[maybe_unused]] void* tag) {
#ifdef SG_TSAN
  __tsan_release(tag);
#endif
}

void name_stack([[maybe_unused]] const Stack& stack, [[maybe_unused]] size_t block, [[maybe_unused]] size_t thread) {
#ifdef SG_TSAN
  char name[64];
  snprintf(name, sizeof name, "block %zu thread %zu", block, thread);
  __tsan_set_fiber_name(stack.tsan, name);
#endif
}

void poison([[maybe_unused]] void* from, [[maybe_unused]] size_t bytes) {
#ifdef SG_ASAN
  __asan_poison_memory_region(from, bytes);
#endif
}

void unpoison([[maybe_unused]] void* from, [[maybe_unused]] size_t bytes) {
#ifdef SG_ASAN
  __asan_unpoison_memory_region(from, bytes);
#endif
}

}  // namespace sg_emu
