// Merges a sorted row of B with the same row of B^T, in place. The row of B^T lies at the end of a region as long as
// both rows together; the merged row starts at the start of the region, so no store overtakes a load.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace sg {

struct Pair {
  int32_t column;
  float value;
};

constexpr int64_t kLopsided = 16;  // ratio of the lengths of two rows above which they are merged in runs
constexpr int64_t kRun = 8;        // columns copied at a time

// The entries of B, and the regions.
struct Sides {
  const int32_t* columns;
  const float* values;
  Pair* pairs;
};

// The state of a merge of B's entries [p, p_end) and the transpose's pairs [q, q_end) into the pairs from `to` on.
struct MergingRow {
  int64_t p, p_end, q, q_end, to;
  int64_t equal = 0;  // pairs with the same column as the previous pair

  // Steps that cannot pass the end of either side.
  int64_t safe_steps() const { return std::min(p_end - p, q_end - q); }

  // Appends the smaller column; a column of both sides is appended twice, B's entry first. The selection is branchless,
  // since a branch would be mispredicted.
  void step(const Sides sides) {
    const Pair own{sides.columns[p], sides.values[p]}, other = sides.pairs[q];
    uint64_t forward, backward;
    std::memcpy(&forward, &own, sizeof forward);
    std::memcpy(&backward, &other, sizeof backward);
    const int64_t take = own.column <= other.column;
    equal += own.column == other.column;
    const uint64_t next = backward ^ ((forward ^ backward) & static_cast<uint64_t>(-take));
    std::memcpy(sides.pairs + to, &next, sizeof next);
    ++to;
    p += take;
    q += 1 - take;
  }

  // Merges two sides without duplicates.
  void finish_distinct(const Sides& sides) {
    for (int64_t steps = safe_steps(); steps > 0; steps = safe_steps()) {
      for (; steps > 0; --steps) step(sides);
    }
    for (; p < p_end; ++p) sides.pairs[to++] = {sides.columns[p], sides.values[p]};
    to += q_end - q;  // the rest of the transpose is in place already
  }

  // Whether one side is so much longer that its columns come in long runs.
  bool lopsided() const {
    const int64_t own = p_end - p, other = q_end - q;
    return std::max(own, other) >= kLopsided * std::min(own, other);
  }

  // Merges two sides without duplicates: copies the runs of one side between the columns of the other.
  void finish_runs(const Sides& sides) {
    const auto copy = [&](int64_t count) {
      for (int64_t k = 0; k < count; ++k) sides.pairs[to + k] = {sides.columns[p + k], sides.values[p + k]};
      p += count;
      to += count;
    };
    const auto move = [&](int64_t count) {
      for (int64_t k = 0; k < count; ++k) sides.pairs[to + k] = sides.pairs[q + k];
      q += count;
      to += count;
    };
    if (p_end - p > q_end - q) {
      for (; q < q_end; ++q) {
        const Pair other = sides.pairs[q];
        const int64_t before = p;
        while (p + kRun <= p_end && sides.columns[p + kRun - 1] <= other.column) copy(kRun);
        while (p < p_end && sides.columns[p] <= other.column) copy(1);
        equal += before < p && sides.columns[p - 1] == other.column;
        sides.pairs[to++] = other;
      }
      copy(p_end - p);
      return;
    }
    for (; p < p_end; ++p) {
      const Pair own{sides.columns[p], sides.values[p]};
      while (q + kRun <= q_end && sides.pairs[q + kRun - 1].column < own.column) move(kRun);
      while (q < q_end && sides.pairs[q].column < own.column) move(1);
      equal += q < q_end && sides.pairs[q].column == own.column;
      sides.pairs[to++] = own;
    }
    to += q_end - q;  // the rest of the transpose is in place already
  }

  // Merges two sides with duplicates. The values of each side are accumulated separately, in float64 and in stored
  // order, so the values of (i, j) and (j, i) have the same bits.
  void finish_repeated(const Sides& sides) {
    while (p < p_end || q < q_end) {
      const bool first = q == q_end || (p < p_end && sides.columns[p] <= sides.pairs[q].column);
      const int32_t column = first ? sides.columns[p] : sides.pairs[q].column;
      double forward = 0, backward = 0;
      for (; p < p_end && sides.columns[p] == column; ++p) forward += sides.values[p];
      for (; q < q_end && sides.pairs[q].column == column; ++q) backward += sides.pairs[q].value;
      sides.pairs[to++] = {column, static_cast<float>(forward + backward)};
    }
  }
};

// Merges the rows [begin, end), which have no duplicates, and calls done(i, row) on each. A step depends on the
// previous one, so two rows are interleaved to hide the latency. Lopsided rows, such as those with one empty side, are
// not.
template <class Start, class Done>
void merge_distinct(const Sides& sides, int64_t begin, int64_t end, const Start& start, const Done& done) {
  struct Waiting {
    int64_t i;
    MergingRow row;
  };
  const auto finish = [&](Waiting& each) {
    each.row.finish_distinct(sides);
    done(each.i, each.row);
  };
  Waiting first{};
  bool waiting = false;
  for (int64_t i = begin; i < end; ++i) {
    Waiting second{i, start(i)};
    if (second.row.lopsided()) {
      second.row.finish_runs(sides);
      done(i, second.row);
      continue;
    }
    if (!waiting) {
      first = second;
      waiting = true;
      continue;
    }
    const Sides here = sides;
    const auto safe_steps = [&] { return std::min(first.row.safe_steps(), second.row.safe_steps()); };
    for (int64_t steps = safe_steps(); steps > 0; steps = safe_steps()) {
      MergingRow a = first.row, b = second.row;
      for (; steps > 0; --steps) {
        a.step(here);
        b.step(here);
      }
      first.row = a;
      second.row = b;
    }
    finish(first);
    finish(second);
    waiting = false;
  }
  if (waiting) finish(first);
}

// Returns `value` where `yes` is 1, and 0 where `yes` is 0, without a branch.
inline float keep_if(int32_t yes, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits &= static_cast<uint32_t>(-yes);
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

// Writes half of each value, with the two values of equal columns added, to `columns` and `values`.
inline void halve_pairs(const Pair* pairs, int64_t length, bool distinct, int32_t* columns, float* values) {
  if (distinct) {
    for (int64_t k = 0; k < length; ++k) {
      columns[k] = pairs[k].column;
      values[k] = 0.5f * pairs[k].value;
    }
    return;
  }
  int64_t to = -1;
  Pair before{-1, 0};
  for (int64_t k = 0; k < length; ++k) {
    const int32_t same = pairs[k].column == before.column;
    to += 1 - same;
    columns[to] = pairs[k].column;
    values[to] = 0.5f * (keep_if(same, before.value) + pairs[k].value);
    before = pairs[k];
  }
}

// Four partial sums, to hide the latency of the additions.
inline float row_sum(const float* values, int64_t count) {
  double sum[4] = {};
  int64_t k = 0;
  for (; k + 4 <= count; k += 4) {
    for (int64_t lane = 0; lane < 4; ++lane) sum[lane] += values[k + lane];
  }
  for (; k < count; ++k) sum[0] += values[k];
  return static_cast<float>((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

}  // namespace sg
