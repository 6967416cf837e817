// A cache of memory blocks in huge pages, for large results and scratch memory.
//
// The first write to a page costs a page fault, in which the system fills the page with zeros. The C library returns
// fresh pages for every allocation above 32 MiB; below that it depends on the memory that the process has freed. For a
// product of 72,013 rows the faults took a third of the time with 16 columns and a fifth with 128. So released blocks
// stay here for the next call, in huge pages: one fault for 2 MiB instead of 4 KiB. NumPy requests huge pages for its
// arrays in the same way. Where the system ignores the request, nothing changes.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <mutex>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "cpu/core/checks.h"
#include "cpu/core/torch_api.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace sg {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kLeastAdvisedBytes = 2 * kHugePage;

inline void advise_huge_pages(void* data, size_t bytes) {
#ifdef MADV_HUGEPAGE
  if (bytes < kLeastAdvisedBytes) return;
  constexpr size_t kPage = 4096;
  madvise(data, bytes / kPage * kPage, MADV_HUGEPAGE);
#else
  static_cast<void>(data);
  static_cast<void>(bytes);
#endif
}

struct Block {
  void* data = nullptr;
  size_t bytes = 0;
};

// The unused blocks, in the order of their release.
class BlockCache {
 public:
  static constexpr size_t kMostBytes = size_t{96} << 20;  // upper bound of the unused memory
  static constexpr size_t kMostBlocks = 16;

  // Returns a block of at least `bytes`: the smallest unused one that is at most a quarter too large, or a new one.
  static Block allocate(size_t bytes) {
    {
      Kept& kept = only();
      const std::lock_guard<std::mutex> guard(kept.mutex);
      auto best = kept.blocks.end();
      for (auto block = kept.blocks.begin(); block != kept.blocks.end(); ++block) {
        if (block->bytes >= bytes && block->bytes - bytes <= bytes / 4 &&
            (best == kept.blocks.end() || block->bytes <= best->bytes)) {
          best = block;
        }
      }
      if (best != kept.blocks.end()) {
        const Block block = *best;
        kept.blocks.erase(best);
        return block;
      }
    }
    const Block block{::operator new(bytes, std::align_val_t{kHugePage}), bytes};
    advise_huge_pages(block.data, bytes);
    return block;
  }

  // Keeps the block unless it is too large, and frees the oldest blocks while the cache exceeds its bounds.
  static void release(Block block) {
    if (block.bytes > kMostBytes) {
      ::operator delete(block.data, std::align_val_t{kHugePage});
      return;
    }
    Kept& kept = only();
    std::vector<Block> freed;
    {
      const std::lock_guard<std::mutex> guard(kept.mutex);
      kept.blocks.push_back(block);
      size_t bytes = 0, keep = 0;
      for (auto each = kept.blocks.rbegin(); each != kept.blocks.rend() && keep < kMostBlocks; ++each, ++keep) {
        bytes += each->bytes;
        if (bytes > kMostBytes) break;
      }
      const auto first_kept = kept.blocks.end() - static_cast<std::ptrdiff_t>(keep);
      freed.assign(kept.blocks.begin(), first_kept);
      kept.blocks.erase(kept.blocks.begin(), first_kept);
    }
    for (const Block& each : freed) ::operator delete(each.data, std::align_val_t{kHugePage});
  }

 private:
  struct Kept {
    std::mutex mutex;
    std::vector<Block> blocks;
  };

  // Never destroyed: a thread may release its block while the program ends.
  static Kept& only() {
    static Kept* const kept = new Kept;
    return *kept;
  }
};

// Bytes of an element, for the dtypes of results.
inline size_t element_bytes(ScalarType type) {
  return type == ScalarType::Double || type == ScalarType::Long ? 8 : 4;
}

// Returns an uninitialised tensor on the device of `like`. A tensor of 2 MiB or more uses a block, which it releases
// when it is freed.
inline Tensor new_result(const Tensor& like, std::initializer_list<int64_t> sizes,
                         std::optional<ScalarType> type = std::nullopt) {
  const ScalarType element = type.value_or(like.scalar_type());
  size_t bytes = element_bytes(element);
  bool too_large = false;
  for (const int64_t size : sizes) too_large |= __builtin_mul_overflow(bytes, static_cast<size_t>(size), &bytes);
  if (too_large || bytes < kHugePage) return torch::stable::new_empty(like, sizes, element);
  std::vector<int64_t> strides(sizes.size(), 1);
  for (size_t k = sizes.size() - 1; k > 0; --k) strides[k - 1] = strides[k] * sizes.begin()[k];
  const Block block = BlockCache::allocate(bytes);
  return torch::stable::from_blob(block.data, sizes, strides, like.device(), element,
                                  [block](void*) { BlockCache::release(block); });
}

// Uninitialised scratch memory for `count` values.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count) : block_(BlockCache::allocate(static_cast<size_t>(count) * sizeof(T))) {}
  Scratch(Scratch&& other) noexcept : block_(std::exchange(other.block_, {})) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    if (block_.data != nullptr) BlockCache::release(block_);
  }

  T* data() { return static_cast<T*>(block_.data); }

 private:
  Block block_;
};

}  // namespace sg
