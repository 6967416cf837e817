// Large results in huge pages.
//
// The first write to a page of 4 KiB costs a fault, and the C library hands out results above 32 MiB as fresh pages on
// every call. With 72,013 rows of 128 columns that took as long as two thirds of the product itself. The advice makes
// it one fault for 2 MiB, and the rows that a later product gathers then need few entries of the TLB. NumPy gives its
// own arrays the same advice. Where the system does not take it, nothing changes.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <mutex>
#include <new>
#include <optional>
#include <utility>

#include "cpu/checks.h"
#include "cpu/torch_api.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace sg {

constexpr uintptr_t kLeastAdvisedBytes = uintptr_t{4} << 20;

inline void advise_huge_pages(void* data, uintptr_t bytes) {
#ifdef MADV_HUGEPAGE
  if (bytes < kLeastAdvisedBytes) return;
  constexpr uintptr_t kPage = 4096;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + kPage - 1) / kPage * kPage;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / kPage * kPage;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  static_cast<void>(data);
  static_cast<void>(bytes);
#endif
}

// An uninitialised tensor that the caller fills completely, beside `like`.
inline Tensor new_result(const Tensor& like, std::initializer_list<int64_t> sizes,
                         std::optional<ScalarType> type = std::nullopt) {
  Tensor result = torch::stable::new_empty(like, sizes, type);
  advise_huge_pages(result.mutable_data_ptr(), static_cast<uintptr_t>(result.numel()) * result.element_size());
  return result;
}

// One block of memory that is kept from call to call: its pages would otherwise be zeroed by the system every time, which
// for csr_symmetrise cost as much as its merge. At most kKeptBytes stay with the process.
class KeptBlock {
 public:
  static constexpr size_t kKeptBytes = size_t{64} << 20;

  // Returns a block of at least `bytes`, the kept one if it is free and large enough, and sets `bytes` to its size.
  static void* take(size_t& bytes) {
    {
      const std::lock_guard<std::mutex> guard(slot().mutex);
      if (slot().data != nullptr && slot().bytes >= bytes) {
        bytes = slot().bytes;
        return std::exchange(slot().data, nullptr);
      }
    }
    void* data = ::operator new(bytes);
    advise_huge_pages(data, bytes);
    return data;
  }

  static void give_back(void* data, size_t bytes) {
    {
      const std::lock_guard<std::mutex> guard(slot().mutex);
      if (bytes <= kKeptBytes && (slot().data == nullptr || slot().bytes < bytes)) {
        std::swap(slot().data, data);
        slot().bytes = bytes;
      }
    }
    ::operator delete(data);
  }

 private:
  struct Slot {
    std::mutex mutex;
    void* data = nullptr;
    size_t bytes = 0;
  };

  // Never destroyed: a thread may still give its block back while the program ends.
  static Slot& slot() {
    static Slot* const only = new Slot;
    return *only;
  }
};

// Uninitialised memory for `count` values that the operator itself needs.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : bytes_(static_cast<size_t>(count) * sizeof(T)), data_(static_cast<T*>(KeptBlock::take(bytes_))) {}
  Scratch(Scratch&& other) noexcept : bytes_(other.bytes_), data_(std::exchange(other.data_, nullptr)) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    if (data_ != nullptr) KeptBlock::give_back(data_, bytes_);
  }

  T* data() { return data_; }

 private:
  size_t bytes_;
  T* data_;
};

}  // namespace sg
