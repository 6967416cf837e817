// Stacks that are switched by hand, and what the sanitizers must be told about them.

#pragma once

#include <cstddef>

namespace sg_emu {

constexpr size_t kStackBytes = 128 << 10;

// A stack and, under ThreadSanitizer, the "thread" that runs on it. Both are kept: making one costs 0.5 ms there.
struct Stack {
  char* bottom;
  void* tsan;
};
Stack make_stack();

// Prepares `stack` to run entry() when it is first switched to; returns the stack pointer.
void* prepare_stack(const Stack& stack, void (*entry)());

// From the main stack to a fiber's, and back. `saved` keeps the stack pointer of the one that is left.
void switch_to_fiber(const Stack& stack, void* pointer);
void switch_to_main(void** saved, bool ends);
void fiber_begins();  // the first call of an entry

void begin_launch();
void order_after(void* tag);   // what came before a release of the tag is seen from here on
void order_before(void* tag);  // the release
void name_stack(const Stack& stack, size_t block, size_t thread);
void poison(void* from, size_t bytes);
void unpoison(void* from, size_t bytes);

}  // namespace sg_emu
