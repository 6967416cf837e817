// A view of a sparse matrix in CSR: shape checks, index checks, parts of equal work.

#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "cpu/core/checks.h"
#include "cpu/core/parallel.h"
#include "cpu/core/simd.h"

namespace sg {

struct Csr {
  const int64_t* indptr;   // rows + 1
  const int32_t* indices;  // entries
  int64_t rows;
  int64_t columns;
  int64_t entries;
};

inline Csr check_csr(const char* op, const Tensor& indptr, const Tensor& indices, int64_t columns) {
  check_tensor(op, "indptr", indptr, 1, ScalarType::Long);
  check_tensor(op, "indices", indices, 1, ScalarType::Int);
  SG_CHECK(indptr.numel() >= 1, op, "indptr must have rows + 1 elements, got none");
  SG_CHECK(columns >= 0 && columns <= std::numeric_limits<int32_t>::max(), op,
           "the number of columns must be in [0, 2147483647], got ", columns);
  const Csr csr{indptr.const_data_ptr<int64_t>(), indices.const_data_ptr<int32_t>(), indptr.numel() - 1, columns,
                indices.numel()};
  SG_CHECK(csr.indptr[0] == 0, op, "indptr must begin with 0, got ", csr.indptr[0]);
  SG_CHECK(csr.indptr[csr.rows] == csr.entries, op, "indptr must end with the number of indices, ", csr.entries,
           ", got ", csr.indptr[csr.rows]);
  return csr;
}

inline void check_values(const char* op, const Tensor& values, const Csr& csr, ScalarType type) {
  check_tensor(op, "values", values, 1, type);
  SG_CHECK(values.numel() == csr.entries, op, "values must have as many elements as indices, ", csr.entries, ", got ",
           values.numel());
}

#ifdef SG_X86
SG_AVX2 inline bool columns_valid_avx2(const int32_t* indices, int64_t count, int64_t columns) {
  __m256i largest = _mm256_setzero_si256();
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    largest = _mm256_max_epu32(largest, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(indices + i)));
  }
  alignas(32) uint32_t lane[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lane), largest);
  uint32_t most = *std::max_element(lane, lane + 8);
  for (; i < count; ++i) most = std::max(most, static_cast<uint32_t>(indices[i]));
  return static_cast<int64_t>(most) < columns;
}

SG_AVX2 inline bool ascending_avx2(const int64_t* numbers, int64_t count) {
  __m256i falls = _mm256_setzero_si256();
  int64_t i = 1;
  for (; i + 4 <= count; i += 4) {
    const __m256i before = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(numbers + i - 1));
    const __m256i here = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(numbers + i));
    falls = _mm256_or_si256(falls, _mm256_cmpgt_epi64(before, here));
  }
  bool ordered = _mm256_testz_si256(falls, falls) != 0;
  for (; i < count; ++i) ordered &= numbers[i - 1] <= numbers[i];
  return ordered;
}
#endif

// Whether the numbers never decrease.
inline bool ascending(const int64_t* numbers, int64_t count) {
#ifdef SG_X86
  if (has_avx2()) return ascending_avx2(numbers, count);
#endif
  bool ordered = true;
  for (int64_t i = 1; i < count; ++i) ordered &= numbers[i - 1] <= numbers[i];
  return ordered;
}

// Negative columns are the largest unsigned numbers, so one maximum tests both bounds.
inline bool columns_valid(const int32_t* indices, int64_t count, int64_t columns) {
  if (count == 0) return true;
#ifdef SG_X86
  if (has_avx2()) return columns_valid_avx2(indices, count, columns);
#endif
  uint32_t most = 0;
  for (int64_t i = 0; i < count; ++i) most = std::max(most, static_cast<uint32_t>(indices[i]));
  return static_cast<int64_t>(most) < columns;
}

// Whether the row pointers and the indices of the rows [begin, end) stay inside the arrays. The caller uses the rows
// right afterwards: the check brings their indices into the cache, so it costs little.
inline bool rows_valid(const Csr& csr, int64_t begin, int64_t end) {
  return csr.indptr[begin] >= 0 && csr.indptr[end] <= csr.entries &&
         ascending(csr.indptr + begin, end - begin + 1) &&
         columns_valid(csr.indices + csr.indptr[begin], csr.indptr[end] - csr.indptr[begin], csr.columns);
}

// Throws for the first fault of a matrix that rows_valid rejected.
[[noreturn]] inline void fail_csr(const char* op, const Csr& csr) {
  for (int64_t i = 0; i < csr.rows; ++i) {
    SG_CHECK(csr.indptr[i] <= csr.indptr[i + 1], op, "indptr must not decrease, got indptr[", i, "] = ", csr.indptr[i],
             " and indptr[", i + 1, "] = ", csr.indptr[i + 1]);
  }
  for (int64_t p = 0; p < csr.entries; ++p) {
    SG_CHECK(csr.indices[p] >= 0 && csr.indices[p] < csr.columns, op, "indices must lie in [0, ", csr.columns,
             "), got indices[", p, "] = ", csr.indices[p]);
  }
  fail(op, "the matrix changed while it was read");
}

// Cuts the rows into at most `parts` parts of about equal work (entries + rows): part k is [cuts[k], cuts[k + 1]).
// The parts are disjoint and cover all rows even if indptr is invalid.
inline std::vector<int64_t> cut_rows(const Csr& csr, int64_t parts) {
  std::vector<int64_t> cuts(static_cast<size_t>(parts) + 1, 0);
  const int64_t work = csr.entries + csr.rows;
  for (int64_t part = 1; part < parts; ++part) {
    const int64_t target =
        static_cast<int64_t>(static_cast<double>(work) * static_cast<double>(part) / static_cast<double>(parts));
    int64_t low = cuts[part - 1], high = csr.rows;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (csr.indptr[middle] + middle < target) low = middle + 1;
      else high = middle;
    }
    cuts[part] = low;
  }
  cuts[parts] = csr.rows;
  return cuts;
}

constexpr int64_t kCheckedEntries = 4096;  // of a block: its indices then stay in the first-level cache

// Calls rows(begin, end) on consecutive blocks of the rows [begin, end), each right after its check. Stops at an
// invalid block and returns false.
template <class Rows>
bool for_checked_rows(const Csr& csr, int64_t begin, int64_t end, const Rows& rows) {
  while (begin < end) {
    // Unsigned, since unchecked numbers may overflow; if they do not ascend, any block will do.
    const auto fits = [&](int64_t past) {
      return static_cast<uint64_t>(csr.indptr[past]) - static_cast<uint64_t>(csr.indptr[begin]) <= kCheckedEntries;
    };
    int64_t past = begin + 1, last = std::min(end, begin + kCheckedEntries);
    while (past < last) {
      const int64_t middle = last - (last - past) / 2;
      if (fits(middle)) past = middle;
      else last = middle - 1;
    }
    if (!rows_valid(csr, begin, past)) return false;
    rows(begin, past);
    begin = past;
  }
  return true;
}

// Calls rows(part, begin, end) on the parts in parallel; one thread takes a part, in ascending order. With `check`
// every block of rows is checked before its call, and an invalid one throws after all parts have finished. Without
// `check` the caller guarantees a valid matrix, and a part is one call.
template <class Rows>
void for_each_part(const char* op, const Csr& csr, const std::vector<int64_t>& cuts, bool check, const Rows& rows) {
  std::atomic<bool> valid{true};
  for_each_task(static_cast<int64_t>(cuts.size()) - 1, [&](int64_t part) {
    if (cuts[part] >= cuts[part + 1]) return;
    const auto block = [&](int64_t begin, int64_t end) { rows(part, begin, end); };
    if (!check) block(cuts[part], cuts[part + 1]);
    else if (!for_checked_rows(csr, cuts[part], cuts[part + 1], block)) valid = false;
  });
  if (!valid.load()) fail_csr(op, csr);
}

// As for_each_part, with several parts for each thread, of at least `least_work` entries + rows: rows(begin, end).
template <class Rows>
void for_each_rows(const char* op, const Csr& csr, int64_t least_work, bool check, const Rows& rows) {
  std::vector<int64_t> cuts = cut_rows(csr, part_count(csr.entries + csr.rows, least_work, 16));
  // A row longer than a part leaves empty parts; without them a single long row wakes no second thread.
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  for_each_part(op, csr, cuts, check, [&](int64_t, int64_t begin, int64_t end) { rows(begin, end); });
}

}  // namespace sg
