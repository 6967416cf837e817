// csr_symmetrise: A = (B + B^T) / 2 with sorted columns, and the degrees A 1.
//
// One array has a region for each row i of A, as long as the rows i of B and of B^T together. The transpose is
// scattered to the ends of the regions; then row i of B and the end of its region are merged to the start of the
// region, and copied to A. Where B's pattern is symmetric, symmetric_pattern.h needs neither.

#include <limits>
#include <tuple>

#include "cpu/symmetrise/column_counts.h"
#include "cpu/symmetrise/merge_transpose.h"
#include "cpu/symmetrise/symmetric_pattern.h"
#include "cpu/core/pages.h"
#include "cpu/core/torch_api.h"

namespace sg {
namespace {

constexpr const char* kOp = "csr_symmetrise";
constexpr int64_t kLeastWork = 8192;  // entries + rows of a part
constexpr int64_t kScatterDistance = 24;  // entries between the prefetch and the store

using Symmetrised = std::tuple<Tensor, Tensor, Tensor, Tensor>;  // indptr, indices, values, degree

// The region of row i is [starts[i], starts[i + 1]).
struct Regions {
  std::vector<int64_t> starts;
  Scratch<Pair> pairs;
};

// Duplicates keep their order, so the regions do not depend on the number of threads. The counts become the positions
// of the next entries.
template <class Place>
Regions scatter_transpose(const Csr& b, const float* values, ColumnCounts<Place>& counted) {
  const int64_t n = b.rows;
  Regions out{std::vector<int64_t>(static_cast<size_t>(n) + 1), Scratch<Pair>(2 * b.entries)};
  int64_t transposed = 0;
  for (int64_t column = 0; column < n; ++column) {
    out.starts[column] = b.indptr[column] + transposed;
    for (int64_t part = 0; part < counted.parts(); ++part) {
      Place& count = counted.of(part)[column];
      const int64_t here = static_cast<int64_t>(count);
      count = static_cast<Place>(b.indptr[column + 1] + transposed);
      transposed += here;
    }
  }
  out.starts[n] = 2 * b.entries;
  Pair* pairs = out.pairs.data();
  for_each_task(counted.parts(), [&](int64_t part) {
    Place* next = counted.of(part);
    const int64_t past = b.indptr[counted.cuts[part + 1]];
    for (int64_t i = counted.cuts[part]; i < counted.cuts[part + 1]; ++i) {
      for (int64_t p = b.indptr[i]; p < b.indptr[i + 1]; ++p) {
        if (p + kScatterDistance < past) prefetch_to_write(pairs + next[b.indices[p + kScatterDistance]]);
        pairs[next[b.indices[p]]++] = {static_cast<int32_t>(i), values[p]};
      }
    }
  });
  return out;
}

// Writes A to `out` where B's pattern is symmetric; returns false elsewhere.
template <class Place>
bool symmetrise_symmetric_pattern(const Csr& b, const float* values, const ColumnCounts<Place>& counted,
                                  Symmetrised& out) {
  if (!row_and_column_counts_match(b, counted)) return false;
  auto& [indptr, indices, weights, degree] = out;
  indices = new_result(indices, {b.entries});
  weights = new_result(weights, {b.entries});
  if (!average_with_transpose(b, values, counted, indices.mutable_data_ptr<int32_t>(),
                              weights.mutable_data_ptr<float>(), degree.mutable_data_ptr<float>())) {
    return false;
  }
  std::copy(b.indptr, b.indptr + b.rows + 1, indptr.mutable_data_ptr<int64_t>());
  return true;
}

// Writes A to `out` for any pattern of B; the rows of B must be sorted.
void symmetrise_merged(const Csr& b, const float* values, bool distinct, Regions regions, Symmetrised& out) {
  const int64_t n = b.rows;
  auto& [indptr, indices, weights, degree] = out;
  int64_t* starts = indptr.mutable_data_ptr<int64_t>();
  const Csr merged{regions.starts.data(), nullptr, n, n, 2 * b.entries};
  const Sides sides{b.indices, values, regions.pairs.data()};
  std::vector<int64_t> equal(static_cast<size_t>(n));
  const auto start = [&](int64_t i) {
    const int64_t region = merged.indptr[i], count = b.indptr[i + 1] - b.indptr[i];
    return MergingRow{b.indptr[i], b.indptr[i + 1], region + count, merged.indptr[i + 1], region};
  };
  const auto done = [&](int64_t i, const MergingRow& row) {
    equal[i] = row.equal;
    starts[i + 1] = row.to - merged.indptr[i] - row.equal;
  };
  for_each_rows(kOp, merged, kLeastWork, false, [&](int64_t begin, int64_t end) {
    if (distinct) {
      merge_distinct(sides, begin, end, start, done);
      return;
    }
    for (int64_t i = begin; i < end; ++i) {
      MergingRow row = start(i);
      row.finish_repeated(sides);
      done(i, row);
    }
  });
  starts[0] = 0;
  for (int64_t i = 0; i < n; ++i) starts[i + 1] += starts[i];
  indices = new_result(indices, {starts[n]});
  weights = new_result(weights, {starts[n]});
  int32_t* to_columns = indices.mutable_data_ptr<int32_t>();
  float* to_values = weights.mutable_data_ptr<float>();
  float* degrees = degree.mutable_data_ptr<float>();
  for_each_rows(kOp, merged, kLeastWork, false, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = starts[i], count = starts[i + 1] - at;
      halve_pairs(sides.pairs + merged.indptr[i], count + equal[i], equal[i] == 0, to_columns + at, to_values + at);
      degrees[i] = row_sum(to_values + at, count);
    }
  });
}

template <class Place>
void symmetrise(Csr b, const float* values, Symmetrised& out) {
  ColumnCounts<Place> counted;
  const RowOrder order = check_and_count(kOp, b, counted);
  if (order == RowOrder::kDistinct && symmetrise_symmetric_pattern(b, values, counted, out)) return;
  SortedRows sorted;
  if (order == RowOrder::kAny) {
    sorted = sort_rows(b, values);
    b.indices = sorted.indices.data();
    values = sorted.values.data();
  }
  symmetrise_merged(b, values, order == RowOrder::kDistinct, scatter_transpose(b, values, counted), out);
}

Symmetrised csr_symmetrise(const Tensor& indptr, const Tensor& indices, const Tensor& values, int64_t n) {
  const Csr b = check_csr(kOp, indptr, indices, n);
  check_values(kOp, values, b, ScalarType::Float);
  SG_CHECK(b.rows == n, kOp, "indptr must have n + 1 = ", n + 1, " elements, got ", b.rows + 1);
  Symmetrised out{torch::stable::new_empty(indptr, {n + 1}), indices, values, torch::stable::new_empty(values, {n})};
  const float* entries = values.const_data_ptr<float>();
  if (2 * b.entries <= std::numeric_limits<uint32_t>::max()) symmetrise<uint32_t>(b, entries, out);
  else symmetrise<int64_t>(b, entries, out);
  return out;
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("csr_symmetrise", TORCH_BOX(&sg::csr_symmetrise)); }
