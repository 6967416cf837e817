// Barriers, warp operations, shared memory and launches. Compile as fibers.cpp: without -fsanitize.

#include "cuda_emu.h"

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "fibers.h"

namespace sg_emu {

Context* current = nullptr;

namespace {

enum class State { kReady, kBarrier, kWarpOp, kDone };

struct Fiber {
  Context context;
  Stack stack;
  void* pointer = nullptr;
  State state = State::kReady;
  unsigned warp, lane;
  const char* file = nullptr;  // of the barrier or warp operation at which it waits
  int line = 0;
  Op op;
  unsigned mask;
  uint64_t bits, result;
  int argument, width;
  unsigned barriers = 0, warp_syncs = 0;
};

constexpr size_t kStaticBytes = 52 << 10;  // 48 KiB, as in CUDA, and gaps between the arrays
constexpr int kMostArrays = 32;

std::vector<Fiber> fibers;
Fiber* running;
const std::function<void()>* kernel_body;
std::vector<Stack> stacks;
size_t stack_shift = 0;
char* static_arrays = nullptr;
size_t static_used = 0;
std::pair<const void*, char*> array_at[kMostArrays];
int array_count = 0;
void* dynamic_array = nullptr;
const char* fault = nullptr;
Fiber* fault_other = nullptr;
char launch_tag, end_tag, barrier_tags[2];
std::vector<std::array<char, 2>> warp_tags;

// Not memset: ThreadSanitizer would see a write by the CUDA thread.
void fill_with_ones(void* from, size_t bytes) {
  volatile char* to = static_cast<char*>(from);
  for (size_t i = 0; i < bytes; ++i) to[i] = static_cast<char>(0xff);
}

void leave(State state) {
  running->state = state;
  switch_to_main(&running->pointer, state == State::kDone);
}

void run_fiber() {
  fiber_begins();
  order_after(&launch_tag);
  (*kernel_body)();
  order_before(&end_tag);
  leave(State::kDone);
  __builtin_unreachable();
}

[[noreturn]] void fail(const char* what, Fiber* other = nullptr) {  // the text is put together on the main stack
  fault = what;
  fault_other = other;
  leave(State::kDone);
  __builtin_unreachable();
}

std::string where(const Fiber& fiber) {
  const Context& c = fiber.context;
  return "thread (" + std::to_string(c.thread.x) + ") block (" + std::to_string(c.block.x) + ", " +
         std::to_string(c.block.y) + ") at " + fiber.file + ":" + std::to_string(fiber.line);
}

void finish_warp_op(Fiber* const* lanes, unsigned mask) {
  unsigned ballot = 0;
  for (unsigned i = 0; i < 32; ++i) {
    if ((mask >> i & 1) && lanes[i]->bits) ballot |= 1u << i;
  }
  for (int i = 0; i < 32; ++i) {
    if (!(mask >> i & 1)) continue;
    Fiber& fiber = *lanes[i];
    const int width = fiber.width, first = i & ~(width - 1);
    int source = i;
    switch (fiber.op) {
      case Op::kShuffle: source = first + (fiber.argument & (width - 1)); break;
      case Op::kShuffleUp: source = i - fiber.argument < first ? i : i - fiber.argument; break;
      case Op::kShuffleDown: source = i + fiber.argument >= first + width ? i : i + fiber.argument; break;
      case Op::kShuffleXor: source = (i ^ fiber.argument) >= first + width ? i : i ^ fiber.argument; break;
      case Op::kBallot: fiber.result = ballot; break;
      case Op::kAny: fiber.result = ballot != 0; break;
      case Op::kAll: fiber.result = ballot == mask; break;
      case Op::kSync: break;
    }
    // A lane outside the mask has no defined value: NaN, or -1.
    if (fiber.op <= Op::kShuffleXor) fiber.result = mask >> source & 1 ? lanes[source]->bits : ~uint64_t{0};
    fiber.state = State::kReady;
  }
}

std::vector<size_t> order_of(size_t count) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  return order;
}

void begin_block(dim3 grid, dim3 block, size_t shared, size_t at) {
  const size_t threads = size_t{block.x} * block.y * block.z;
  fibers.assign(threads, Fiber());
  warp_tags.assign((threads + 31) / 32, {});
  unpoison(static_arrays, kStaticBytes);
  fill_with_ones(static_arrays, kStaticBytes);
  static_used = 0;
  array_count = 0;
  poison(static_arrays, kStaticBytes);
  if (shared) fill_with_ones(dynamic_array, shared);
  for (size_t t = 0; t < threads; ++t) {
    Fiber& fiber = fibers[t];
    fiber.context.thread = {static_cast<unsigned>(t % block.x), static_cast<unsigned>(t / block.x % block.y),
                            static_cast<unsigned>(t / (size_t{block.x} * block.y))};
    fiber.context.block = {static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y),
                           static_cast<unsigned>(at / (size_t{grid.x} * grid.y))};
    fiber.context.block_size = block;
    fiber.context.grid_size = grid;
    fiber.warp = static_cast<unsigned>(t / 32);
    fiber.lane = t % 32;
    // Another stack for the same thread in each block, so that nothing orders the blocks for ThreadSanitizer.
    fiber.stack = stacks[(t + stack_shift) % stacks.size()];
    fiber.pointer = prepare_stack(fiber.stack, run_fiber);
    name_stack(fiber.stack, at, t);
  }
  stack_shift += 33;
  order_before(&launch_tag);
}

// Opens the barrier at which all threads wait; a text if they do not.
std::string open_barrier(size_t done) {
  Fiber* first = nullptr;
  for (Fiber& fiber : fibers) {
    if (fiber.state == State::kDone) continue;
    if (fiber.state == State::kWarpOp) return "a warp operation whose other lanes never come: " + where(fiber);
    if (!first) first = &fiber;
    else if (first->line != fiber.line || strcmp(first->file, fiber.file) != 0) {
      return "threads wait at two barriers: " + where(*first) + " and " + where(fiber);
    }
  }
  if (done > 0) return "a barrier that " + std::to_string(done) + " exited threads never reach: " + where(*first);
  for (Fiber& fiber : fibers) fiber.state = State::kReady;
  return "";
}

std::string run_block(std::mt19937_64* shuffle) {
  std::vector<size_t> order = order_of(fibers.size());
  for (size_t done = 0; done < fibers.size();) {
    bool moved = false;
    if (shuffle) std::shuffle(order.begin(), order.end(), *shuffle);
    for (const size_t t : order) {
      if (fibers[t].state != State::kReady) continue;
      moved = true;
      running = &fibers[t];
      current = &running->context;
      switch_to_fiber(running->stack, running->pointer);
      if (fault) {
        return std::exchange(fault, nullptr) + where(fibers[t]) + (fault_other ? " and " + where(*fault_other) : "");
      }
      done += fibers[t].state == State::kDone;
    }
    if (moved) continue;
    std::string text = open_barrier(done);
    if (!text.empty()) return text;
  }
  return "";
}

}  // namespace

void barrier(const char* file, int line) {
  Fiber& fiber = *running;
  fiber.file = file;
  fiber.line = line;
  void* tag = &barrier_tags[fiber.barriers++ & 1];
  order_before(tag);
  leave(State::kBarrier);
  order_after(tag);
}

uint64_t warp_op(Op op, unsigned mask, uint64_t bits, int argument, int width, const char* file, int line) {
  Fiber& fiber = *running;
  fiber.file = file;
  fiber.line = line;
  fiber.op = op;
  fiber.mask = mask;
  fiber.bits = bits;
  fiber.argument = argument;
  fiber.width = width;
  if (!(mask >> fiber.lane & 1)) fail("a warp operation by a lane that its own mask leaves out: ");
  fiber.state = State::kWarpOp;
  void* tag = op == Op::kSync ? &warp_tags[fiber.warp][fiber.warp_syncs++ & 1] : nullptr;
  if (tag) order_before(tag);
  Fiber* lanes[32];
  bool all = true;
  for (unsigned i = 0; i < 32; ++i) {
    const size_t at = size_t{fiber.warp} * 32 + i;
    lanes[i] = at < fibers.size() ? &fibers[at] : nullptr;
    if (!(mask >> i & 1)) continue;
    if (!lanes[i]) fail("a warp mask names a lane that the block does not have: ");
    if (lanes[i]->state == State::kDone) fail("a warp mask names a lane that has exited: ");
    if (lanes[i]->state != State::kWarpOp) all = false;
    else if (lanes[i]->op != op || lanes[i]->mask != mask || lanes[i]->line != line) {
      fail("lanes of one warp wait at different warp operations or masks: ", lanes[i]);
    }
  }
  if (all) finish_warp_op(lanes, mask);
  else leave(State::kWarpOp);
  if (tag) order_after(tag);
  return fiber.result;
}

void* dynamic_shared() { return dynamic_array; }

void* static_shared(const void* key, size_t bytes) {
  for (int i = 0; i < array_count; ++i) {
    if (array_at[i].first == key) return array_at[i].second;
  }
  if (array_count == kMostArrays || static_used + bytes + 64 > kStaticBytes) fail("too much static shared memory: ");
  char* at = static_arrays + static_used;
  static_used += (bytes + 63) / 32 * 32;  // a gap of at least 32 bytes
  unpoison(at, bytes);
  array_at[array_count++] = {key, at};
  return at;
}

void launch(dim3 grid, dim3 block, size_t shared, const std::function<void()>& body, const char* name) {
  const size_t threads = size_t{block.x} * block.y * block.z, blocks = size_t{grid.x} * grid.y * grid.z;
  const std::string kernel = std::string("kernel ") + name + ": ";
  if (threads == 0 || threads > 1024) throw std::runtime_error(kernel + "bad size of a block");
  if (blocks == 0 || grid.y > 65535 || grid.z > 65535) throw std::runtime_error(kernel + "bad size of the grid");
  if (shared > (48 << 10)) throw std::runtime_error(kernel + "too much dynamic shared memory");
  const char* text = getenv("SG_EMU_SEED");
  const uint64_t seed = text ? strtoull(text, nullptr, 10) : 0;
  std::mt19937_64 generator(seed);
  std::vector<size_t> order = order_of(blocks);
  if (seed) std::shuffle(order.begin(), order.end(), generator);
  kernel_body = &body;
  begin_launch();
  while (stacks.size() < threads) stacks.push_back(make_stack());
  std::string error;
  std::vector<void*> arrays;  // a block's own, and kept to the end: ThreadSanitizer must not take two blocks for one
  for (const size_t at : order) {
    arrays.push_back(aligned_alloc(64, kStaticBytes));
    static_arrays = static_cast<char*>(arrays.back());
    dynamic_array = nullptr;
    if (shared) arrays.push_back(dynamic_array = malloc(shared));
    begin_block(grid, block, shared, at);
    error = run_block(seed ? &generator : nullptr);
    current = nullptr;
    running = nullptr;
    unpoison(static_arrays, kStaticBytes);
    if (!error.empty()) break;
  }
  order_after(&end_tag);
  for (void* array : arrays) free(array);
  if (!error.empty()) throw std::runtime_error(kernel + error);
}

}  // namespace sg_emu
