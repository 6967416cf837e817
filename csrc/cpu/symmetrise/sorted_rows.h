// The order of the columns in the rows of a matrix, and the matrix with sorted rows.

#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "cpu/core/csr.h"

namespace sg {

enum class RowOrder : int { kDistinct, kRepeated, kAny };  // ascending; ascending, with equal columns; not ascending

// Returns how many columns, after the first, do not exceed the previous one.
inline int64_t count_descents(const int32_t* columns, int64_t count) {
  constexpr int64_t kBlock = 4096;  // compilers vectorise sums of 32 bits
  int64_t found = 0;
  for (int64_t begin = 1; begin < count; begin += kBlock) {
    uint32_t here = 0;
    for (int64_t p = begin; p < std::min(count, begin + kBlock); ++p) here += columns[p - 1] >= columns[p] ? 1u : 0u;
    found += here;
  }
  return found;
}

inline RowOrder order_of_rows(const Csr& csr, int64_t begin, int64_t end) {
  // In most matrices columns descend only between rows, and one loop over all rows is several times faster.
  const int64_t first = csr.indptr[begin];
  int64_t between = 0;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t p = csr.indptr[i];
    if (p > first && p < csr.indptr[i + 1]) between += csr.indices[p - 1] >= csr.indices[p];
  }
  if (count_descents(csr.indices + first, csr.indptr[end] - first) == between) return RowOrder::kDistinct;
  bool ascending = true;
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t p = csr.indptr[i] + 1; p < csr.indptr[i + 1]; ++p) ascending &= csr.indices[p - 1] <= csr.indices[p];
  }
  return ascending ? RowOrder::kRepeated : RowOrder::kAny;
}

struct SortedRows {
  std::vector<int32_t> indices;
  std::vector<float> values;
};

// Sorts the columns of each row; the sort is stable.
inline SortedRows sort_rows(const Csr& csr, const float* values) {
  SortedRows out{std::vector<int32_t>(static_cast<size_t>(csr.entries)),
                 std::vector<float>(static_cast<size_t>(csr.entries))};
  for_each_rows("", csr, 8192, false, [&](int64_t begin, int64_t end) {
    std::vector<std::pair<int32_t, float>> row;
    for (int64_t i = begin; i < end; ++i) {
      row.clear();
      for (int64_t p = csr.indptr[i]; p < csr.indptr[i + 1]; ++p) row.emplace_back(csr.indices[p], values[p]);
      std::stable_sort(row.begin(), row.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
      for (size_t k = 0; k < row.size(); ++k) {
        out.indices[csr.indptr[i] + k] = row[k].first;
        out.values[csr.indptr[i] + k] = row[k].second;
      }
    }
  });
  return out;
}

}  // namespace sg
