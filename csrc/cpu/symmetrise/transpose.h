// The transpose of a CSR matrix, by a counting sort.

#pragma once

#include <vector>

#include "cpu/core/csr.h"

namespace sg {

// Writes the transpose into arrays of columns + 1, entries and entries elements. Its rows are sorted by column, and
// duplicates keep their order, so the result does not depend on the number of threads.
template <class T>
void transpose(const char* op, const Csr& csr, const T* values, int64_t* out_indptr, int32_t* out_indices,
               T* out_values) {
  // Every part counts the entries of each column separately; the counts pay only where the entries outnumber the
  // columns.
  const int64_t parts =
      std::min<int64_t>(part_count(csr.entries, 65536, 1), 1 + csr.entries / (2 * std::max<int64_t>(1, csr.columns)));
  const std::vector<int64_t> cuts = cut_rows(csr, parts);
  std::vector<int64_t> place(static_cast<size_t>(parts * csr.columns), 0);
  for_each_part(op, csr, cuts, true, [&](int64_t part, int64_t begin, int64_t end) {
    int64_t* count = place.data() + part * csr.columns;
    for (int64_t p = csr.indptr[begin]; p < csr.indptr[end]; ++p) ++count[csr.indices[p]];
  });
  int64_t start = 0;
  for (int64_t column = 0; column < csr.columns; ++column) {
    out_indptr[column] = start;
    for (int64_t part = 0; part < parts; ++part) {
      int64_t& count = place[part * csr.columns + column];
      const int64_t next = start + count;
      count = start;
      start = next;
    }
  }
  out_indptr[csr.columns] = start;
  for_each_task(parts, [&](int64_t part) {
    int64_t* next = place.data() + part * csr.columns;
    for (int64_t i = cuts[part]; i < cuts[part + 1]; ++i) {
      for (int64_t p = csr.indptr[i]; p < csr.indptr[i + 1]; ++p) {
        const int64_t to = next[csr.indices[p]]++;
        out_indices[to] = static_cast<int32_t>(i);
        out_values[to] = values[p];
      }
    }
  });
}

}  // namespace sg
