// (B + B^T) / 2 where B has the entry (j, i) wherever it has (i, j): the result has B's own pattern, and nothing need be
// sorted or merged.

#pragma once

#include <atomic>
#include <vector>

#include "cpu/core/csr.h"
#include "cpu/symmetrise/entry_counts.h"
#include "cpu/symmetrise/merge_rows.h"
#include "cpu/core/pages.h"

namespace sg {

constexpr int64_t kAheadMirror = 48;  // entries between the prefetch of a mirrored entry and its use

// Whether every column has as many entries as its row: without that the pattern is not symmetric.
template <class Place>
bool rows_as_long_as_columns(const Csr& b, const EntryCounts<Place>& counted) {
  for (int64_t column = 0; column < b.columns; ++column) {
    int64_t count = 0;
    for (int64_t part = 0; part < counted.parts(); ++part) count += counted.of(part)[column];
    if (count != b.indptr[column + 1] - b.indptr[column]) return false;
  }
  return true;
}

// Writes the result's columns, values and row sums; returns false, with anything in them, where the pattern is not
// symmetric. The rows must be as long as the columns, and their columns ascending and distinct.
//
// The rows i ask for their mirrored entries (j, i) in ascending order, so that of row j is always the next one there.
template <class Place>
bool average_mirrored(const Csr& b, const float* values, const EntryCounts<Place>& counted, int32_t* columns,
                      float* averages, float* degrees) {
  std::vector<Place> next(static_cast<size_t>(counted.parts() * b.rows));
  for (int64_t row = 0; row < b.rows; ++row) {
    int64_t place = b.indptr[row];
    for (int64_t part = 0; part < counted.parts(); ++part) {
      next[part * b.rows + row] = static_cast<Place>(place);
      place += counted.of(part)[row];
    }
  }
  // Side by side, a column and its value come with one miss instead of two.
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
        if (p + kAheadMirror < past) prefetch(pairs + cursor[b.indices[p + kAheadMirror]]);
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
