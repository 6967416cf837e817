// How many entries each column of a sparse matrix has, counted part by part of its rows.

#pragma once

#include <algorithm>
#include <vector>

#include "cpu/symmetrise/sorted_rows.h"

namespace sg {

// Place: uint32_t where twice the entries can be counted with it, else int64_t. Places of 32 bits stay in the
// second-level cache twice as long.
template <class Place>
struct EntryCounts {
  std::vector<int64_t> cuts;  // part k is the rows [cuts[k], cuts[k + 1])
  std::vector<Place> counts;  // [part][column]
  int64_t columns = 0;

  int64_t parts() const { return static_cast<int64_t>(cuts.size()) - 1; }
  Place* of(int64_t part) { return counts.data() + part * columns; }
  const Place* of(int64_t part) const { return counts.data() + part * columns; }
};

// Tests the matrix, looks at the order of its rows and counts, in one pass over the indices.
template <class Place>
RowOrder survey(const char* op, const Csr& csr, EntryCounts<Place>& out) {
  // The counts are worth their memory only where the entries outnumber the columns.
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
