// The number of entries of each column of a sparse matrix, for each part of its rows.

#pragma once

#include <algorithm>
#include <vector>

#include "cpu/symmetrise/sorted_rows.h"

namespace sg {

// Place: uint32_t where it can hold twice the number of entries, else int64_t. With 32 bits twice as many counts fit in
// the second-level cache.
template <class Place>
struct ColumnCounts {
  std::vector<int64_t> cuts;  // part k is the rows [cuts[k], cuts[k + 1])
  std::vector<Place> counts;  // [part][column]
  int64_t columns = 0;

  int64_t parts() const { return static_cast<int64_t>(cuts.size()) - 1; }
  Place* of(int64_t part) { return counts.data() + part * columns; }
  const Place* of(int64_t part) const { return counts.data() + part * columns; }
};

// Checks the matrix, determines the order of its columns and counts, in one pass over the indices.
template <class Place>
RowOrder check_and_count(const char* op, const Csr& csr, ColumnCounts<Place>& out) {
  // More parts need more counts; they pay only where the entries outnumber the columns.
  const int64_t parts =
      std::min<int64_t>(part_count(csr.entries, 65536, 1), 1 + csr.entries / (2 * std::max<int64_t>(1, csr.columns)));
  out.cuts = cut_rows(csr, parts);
  out.columns = csr.columns;
  out.counts.assign(static_cast<size_t>(parts * csr.columns), 0);
  std::vector<RowOrder> order(static_cast<size_t>(parts), RowOrder::kDistinct);
  for_each_part(op, csr, out.cuts, true, [&](int64_t part, int64_t begin, int64_t end) {
    order[part] = std::max(order[part], order_of_rows(csr, begin, end));
    Place* count = out.of(part);
    for (int64_t p = csr.indptr[begin]; p < csr.indptr[end]; ++p) ++count[csr.indices[p]];
  });
  return *std::max_element(order.begin(), order.end());
}

}  // namespace sg
