// csr_symmetrise: A = (B + B^T) / 2 with sorted columns, and the degrees D = A 1.
//
// One array has a region for each row i of A, as long as the rows i of B and of B^T together. The transpose is
// scattered to the ends of the regions; then row i of B, read from B itself, and the end of the region are merged to
// the beginning of it. The writing never overtakes the reading: what was written is at most what was taken from either
// side. So the merge needs no pass to count its results and no second array. At last the rows move to A.

#include <cstring>
#include <limits>
#include <tuple>

#include "cpu/pages.h"
#include "cpu/sorted_rows.h"
#include "cpu/torch_api.h"

namespace sg {
namespace {

constexpr const char* kOp = "csr_symmetrise";
constexpr int64_t kLeastWork = 8192;  // entries + rows of a part
constexpr int64_t kAheadWrite = 24;   // entries between the prefetch of a place and the write to it

struct Pair {
  int32_t column;
  float value;
};

// The region of row i is [starts[i], starts[i + 1]).
struct Regions {
  std::vector<int64_t> starts;
  Scratch<Pair> pairs;
};

// The entries of each column, counted part by part of the rows; later the place that the next of them goes to. Places
// of 32 bits stay in the second-level cache twice as long.
template <class Place>
struct Counts {
  std::vector<int64_t> cuts;  // the parts
  std::vector<Place> counts;  // [part][column]
};

// Tests the matrix, looks at the order of its rows and counts, in one pass over the indices.
template <class Place>
RowOrder survey(const Csr& b, Counts<Place>& out) {
  // The counts are worth their memory only where the entries outnumber the columns.
  const int64_t parts =
      std::min<int64_t>(part_count(b.entries, 65536, 1), 1 + b.entries / (2 * std::max<int64_t>(1, b.columns)));
  out.cuts = cut_rows(b, parts);
  out.counts.assign(static_cast<size_t>(parts * b.columns), 0);
  std::vector<RowOrder> order(static_cast<size_t>(parts), RowOrder::kDistinct);
  for_each_part(kOp, b, out.cuts, true, [&](int64_t part, int64_t begin, int64_t end) {
    order[part] = std::max(order[part], order_of_rows(b, begin, end));
    Place* count = out.counts.data() + part * b.columns;
    for (int64_t p = b.indptr[begin]; p < b.indptr[end]; ++p) ++count[b.indices[p]];
  });
  return *std::max_element(order.begin(), order.end());
}

// Entries of equal place keep their order, so the regions do not depend on the number of threads.
template <class Place>
Regions scatter_transpose(const Csr& b, const float* values, Counts<Place>& counted) {
  const int64_t n = b.rows, parts = static_cast<int64_t>(counted.cuts.size()) - 1;
  Regions out{std::vector<int64_t>(static_cast<size_t>(n) + 1), Scratch<Pair>(2 * b.entries)};
  int64_t transposed = 0;
  for (int64_t column = 0; column < n; ++column) {
    out.starts[column] = b.indptr[column] + transposed;
    for (int64_t part = 0; part < parts; ++part) {
      Place& count = counted.counts[part * n + column];
      const int64_t here = static_cast<int64_t>(count);
      count = static_cast<Place>(b.indptr[column + 1] + transposed);
      transposed += here;
    }
  }
  out.starts[n] = 2 * b.entries;
  Pair* pairs = out.pairs.data();
  for_each_task(parts, [&](int64_t part) {
    Place* next = counted.counts.data() + part * n;
    const int64_t past = b.indptr[counted.cuts[part + 1]];
    for (int64_t i = counted.cuts[part]; i < counted.cuts[part + 1]; ++i) {
      for (int64_t p = b.indptr[i]; p < b.indptr[i + 1]; ++p) {
        if (p + kAheadWrite < past) prefetch_to_write(pairs + next[b.indices[p + kAheadWrite]]);
        pairs[next[b.indices[p]]++] = {static_cast<int32_t>(i), values[p]};
      }
    }
  });
  return out;
}

// The value where `yes` is 1, and 0 where it is 0, without a branch.
float keep_if(int32_t yes, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits &= static_cast<uint32_t>(-yes);
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

// B by its entries, and the regions.
struct Sides {
  const int32_t* columns;
  const float* values;
  Pair* pairs;
};

// One row of the merge: B's entries [p, p_end) and the transpose's pairs [q, q_end) become the pairs from `to` on.
struct MergedRow {
  int64_t p, p_end, q, q_end, to;
  double sum = 0;

  bool both() const { return p < p_end && q < q_end; }

  // Which side goes on is computed, not branched on, since it cannot be predicted.
  void step(const Sides& sides) {
    const int32_t forward = sides.columns[p], backward = sides.pairs[q].column;
    const int32_t take_b = forward <= backward, take_t = backward <= forward;
    emit(sides, std::min(forward, backward),
         0.5f * keep_if(take_b, sides.values[p]) + 0.5f * keep_if(take_t, sides.pairs[q].value));
    p += take_b;
    q += take_t;
  }

  void emit(const Sides& sides, int32_t column, float value) {
    sides.pairs[to++] = {column, value};
    sum += value;
  }

  void finish_distinct(const Sides& sides) {
    while (both()) step(sides);
    for (; p < p_end; ++p) emit(sides, sides.columns[p], 0.5f * sides.values[p]);
    for (; q < q_end; ++q) emit(sides, sides.pairs[q].column, 0.5f * sides.pairs[q].value);
  }

  // Where columns come twice: the values of either side are added up by themselves, in float64 and in their stored
  // order, so the value of (i, j) has the same bits as that of (j, i).
  void finish_repeated(const Sides& sides) {
    while (p < p_end || q < q_end) {
      const bool first = q == q_end || (p < p_end && sides.columns[p] <= sides.pairs[q].column);
      const int32_t column = first ? sides.columns[p] : sides.pairs[q].column;
      double forward = 0, backward = 0;
      for (; p < p_end && sides.columns[p] == column; ++p) forward += sides.values[p];
      for (; q < q_end && sides.pairs[q].column == column; ++q) backward += sides.pairs[q].value;
      emit(sides, column, static_cast<float>(0.5 * (forward + backward)));
    }
  }
};

// Merges the rows [begin, end); done(i, row) takes each finished row. A step waits for the one before it, so two rows
// take turns.
template <class Start, class Done>
void merge_distinct(const Sides& sides, int64_t begin, int64_t end, const Start& start, const Done& done) {
  int64_t i = begin;
  for (; i + 1 < end; i += 2) {
    MergedRow first = start(i), second = start(i + 1);
    while (first.both() && second.both()) {
      first.step(sides);
      second.step(sides);
    }
    first.finish_distinct(sides);
    second.finish_distinct(sides);
    done(i, first);
    done(i + 1, second);
  }
  if (i < end) {
    MergedRow last = start(i);
    last.finish_distinct(sides);
    done(i, last);
  }
}

// B's rows in ascending order, and the regions with the transpose at their ends.
template <class Place>
Regions prepare(Csr& b, const float*& values, SortedRows& sorted, RowOrder& order) {
  Counts<Place> counts;
  order = survey(b, counts);
  if (order == RowOrder::kAny) {
    sorted = sort_rows(b, values);
    b.indices = sorted.indices.data();
    values = sorted.values.data();
  }
  return scatter_transpose(b, values, counts);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> csr_symmetrise(const Tensor& indptr, const Tensor& indices,
                                                          const Tensor& values, int64_t n) {
  Csr b = check_csr(kOp, indptr, indices, n);
  check_values(kOp, values, b, ScalarType::Float);
  SG_CHECK(b.rows == n, kOp, "indptr must have n + 1 = ", n + 1, " elements, got ", b.rows + 1);
  const float* b_values = values.const_data_ptr<float>();
  SortedRows sorted;
  RowOrder order = RowOrder::kAny;
  const bool small = 2 * b.entries <= std::numeric_limits<uint32_t>::max();
  Regions regions = small ? prepare<uint32_t>(b, b_values, sorted, order) : prepare<int64_t>(b, b_values, sorted, order);
  Pair* pairs = regions.pairs.data();
  Tensor out_indptr = torch::stable::new_empty(indptr, {n + 1});
  Tensor degree = torch::stable::new_empty(values, {n});
  int64_t* starts = out_indptr.mutable_data_ptr<int64_t>();
  float* degrees = degree.mutable_data_ptr<float>();
  const Csr merged{regions.starts.data(), nullptr, n, n, 2 * b.entries};
  const Sides sides{b.indices, b_values, pairs};
  const auto start = [&](int64_t i) {
    const int64_t region = merged.indptr[i], count = b.indptr[i + 1] - b.indptr[i];
    return MergedRow{b.indptr[i], b.indptr[i + 1], region + count, merged.indptr[i + 1], region};
  };
  const auto done = [&](int64_t i, const MergedRow& row) {
    starts[i + 1] = row.to - merged.indptr[i];
    degrees[i] = static_cast<float>(row.sum);
  };
  for_each_rows(kOp, merged, kLeastWork, false, [&](int64_t begin, int64_t end) {
    if (order == RowOrder::kDistinct) {
      merge_distinct(sides, begin, end, start, done);
      return;
    }
    for (int64_t i = begin; i < end; ++i) {
      MergedRow row = start(i);
      row.finish_repeated(sides);
      done(i, row);
    }
  });
  starts[0] = 0;
  for (int64_t i = 0; i < n; ++i) starts[i + 1] += starts[i];
  Tensor out_indices = new_result(indices, {starts[n]});
  Tensor out_values = new_result(values, {starts[n]});
  int32_t* columns = out_indices.mutable_data_ptr<int32_t>();
  float* weights = out_values.mutable_data_ptr<float>();
  for_each_rows(kOp, merged, kLeastWork, false, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Pair* row = pairs + merged.indptr[i];
      for (int64_t k = 0; k < starts[i + 1] - starts[i]; ++k) {
        columns[starts[i] + k] = row[k].column;
        weights[starts[i] + k] = row[k].value;
      }
    }
  });
  return {out_indptr, out_indices, out_values, degree};
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("csr_symmetrise", TORCH_BOX(&sg::csr_symmetrise)); }
