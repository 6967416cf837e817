// Large results in huge pages.
//
// The first write to a page of 4 KiB costs a fault, and the C library hands out results above 32 MiB as fresh pages on
// every call. With 72,013 rows of 128 columns that took as long as two thirds of the product itself. The advice makes
// it one fault for 2 MiB, and the rows that a later product gathers then need few entries of the TLB. NumPy gives its
// own arrays the same advice. Where the system does not take it, nothing changes.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <optional>

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

// Uninitialised memory for `count` values that the operator itself needs.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count) : data_(static_cast<T*>(::operator new(static_cast<size_t>(count) * sizeof(T)))) {
    advise_huge_pages(data_.get(), static_cast<uintptr_t>(count) * sizeof(T));
  }

  T* data() { return data_.get(); }

 private:
  struct Free {
    void operator()(T* data) const { ::operator delete(data); }
  };
  std::unique_ptr<T, Free> data_;
};

}  // namespace sg
