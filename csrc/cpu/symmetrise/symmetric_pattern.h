// (B + B^T) / 2 for a B with a symmetric sparsity pattern: the result has the pattern of B, so nothing is sorted or
// merged.

#pragma once

#include <atomic>
#include <vector>

#include "cpu/core/csr.h"
#include "cpu/symmetrise/column_counts.h"
#include "cpu/symmetrise/merge_transpose.h"
#include "cpu/core/pages.h"

namespace sg {

constexpr int64_t kMirrorPrefetchDistance = 48;  // entries between the prefetch of a mirrored entry and its use

// Whether column i has as many entries as row i, for every i: a necessary condition of a symmetric pattern.
template <class Place>
bool row_and_column_counts_match(const Csr& b, const ColumnCounts<Place>& counted) {
  for (int64_t column = 0; column < b.columns; ++column) {
    int64_t count = 0;
    for (int64_t part = 0; part < counted.parts(); ++part) count += counted.of(part)[column];
    if (count != b.indptr[column + 1] - b.indptr[column]) return false;
  }
  return true;
}

// Writes the result's columns, values and row sums; returns false, with undefined output, where the pattern is not
// symmetric. Row and column counts must match, and the rows must be sorted without duplicates.
//
// The rows i read their mirrored entries (j, i) in ascending order, so one cursor for each row j finds them.
template <class Place>
bool average_with_transpose(const Csr& b, const float* values, const ColumnCounts<Place>& counted, int32_t* columns,
                      float* averages, float* degrees) {
  std::vector<Place> next(static_cast<size_t>(counted.parts() * b.rows));
  for (int64_t row = 0; row < b.rows; ++row) {
    int64_t place = b.indptr[row];
    for (int64_t part = 0; part < counted.parts(); ++part) {
      next[part * b.rows + row] = static_cast<Place>(place);
      place += counted.of(part)[row];
    }
  }
  // A column beside its value costs one cache miss instead of two.
  Scratch<Pair> packed(b.entries);
  Pair* pairs = packed.data();
  for_each_rows("", b, 8192, false, [&](int64_t begin, int64_t end) {
    for (int64_t p = b.indptr[begin]; p < b.indptr[end]; ++p) {
      pairs[p] = {b.indices[p], values[p]};
      columns[p] = b.indices[p];
    }
  });
  std::atomic<bool> symmetric{true};
  for_each_task(counted.parts(), [&](int64_t part) {
    Place* cursor = next.data() + part * b.rows;
    const int64_t past = b.indptr[counted.cuts[part + 1]];
    for (int64_t i = counted.cuts[part]; i < counted.cuts[part + 1]; ++i) {
      bool mirrored = true;
      for (int64_t p = b.indptr[i]; p < b.indptr[i + 1]; ++p) {
        if (p + kMirrorPrefetchDistance < past) prefetch(pairs + cursor[b.indices[p + kMirrorPrefetchDistance]]);
        const Pair mirror = pairs[cursor[b.indices[p]]++];
        mirrored &= mirror.column == static_cast<int32_t>(i);
        averages[p] = 0.5f * (values[p] + mirror.value);
      }
      degrees[i] = row_sum(averages + b.indptr[i], b.indptr[i + 1] - b.indptr[i]);
      if (!mirrored) {
        symmetric.store(false);
        return;
      }
    }
  });
  return symmetric.load();
}

}  // namespace sg
