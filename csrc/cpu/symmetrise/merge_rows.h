// Two sorted rows into one, in place: a row of B, read from B itself, and a row of B^T that lies at the end of a region
// as long as both together. The merged row begins where the region begins; the writing never overtakes the reading.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace sg {

struct Pair {
  int32_t column;
  float value;
};

constexpr int64_t kLopsided = 16;  // times as many columns on one side
constexpr int64_t kRun = 8;        // columns that are copied at a time

// B by its entries, and the regions.
struct Sides {
  const int32_t* columns;
  const float* values;
  Pair* pairs;
};

// B's entries [p, p_end) and the transpose's pairs [q, q_end) become the pairs from `to` on.
struct MergingRow {
  int64_t p, p_end, q, q_end, to;
  int64_t equal = 0;  // pairs that have the column of the pair before them

  // So many steps cannot run past the end of either side.
  int64_t safe_steps() const { return std::min(p_end - p, q_end - q); }

  // Columns that both sides have come twice, B's first. Which side goes on is computed, not branched on, since it
  // cannot be predicted.
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

  // Both sides have each column once.
  void finish_distinct(const Sides& sides) {
    for (int64_t steps = safe_steps(); steps > 0; steps = safe_steps()) {
      for (; steps > 0; --steps) step(sides);
    }
    for (; p < p_end; ++p) sides.pairs[to++] = {sides.columns[p], sides.values[p]};
    to += q_end - q;  // what is left of the transpose lies there already
  }

  // Whether one side has so many columns more than the other that they come in long runs.
  bool lopsided() const {
    const int64_t own = p_end - p, other = q_end - q;
    return std::max(own, other) >= kLopsided * std::min(own, other);
  }

  // Both sides have each column once: the runs of one side between the columns of the other.
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
    to += q_end - q;  // what is left of the transpose lies there already
  }

  // Columns come twice on a side: the values of either side are added up by themselves, in float64 and in their stored
  // order, so the value of (i, j) has the same bits as that of (j, i).
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

// Merges the rows [begin, end) of distinct columns; done(i, row) takes each finished row. A step waits for the one
// before it, so two rows take turns; lopsided ones, those of one side among them, go by themselves.
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

// The value where `yes` is 1, and 0 where it is 0, without a branch.
inline float keep_if(int32_t yes, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits &= static_cast<uint32_t>(-yes);
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

// Writes half of each value, those of equal columns added up, to `columns` and `values`. No column comes three times.
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

// Four sums, so that an addition need not wait for the one before it.
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
