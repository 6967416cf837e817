// The sweep over the tiles of a block of rows and a range of slivers, which fills the top-c lists.
//
// With upper bounds, a row is multiplied with a sliver only if one of its 16 bounds, first the coarse and then the fine
// ones, reaches a list's least value. The remaining rows are collected until they fill a tile, so few tiles are
// partial.

#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "cpu/affinity/affinity_search.h"

namespace sg {

// Adaptive use of a level of bounds: where it keeps more than the share `most` of the rows of a sliver, it costs more
// than it prunes, so the next slivers skip it: one, then two, then four at a time.
class Trial {
 public:
  Trial(bool on, double most) : on_(on), most_(most) {}

  // Whether to test the next sliver.
  bool begin() {
    if (tested_ > 0) {
      const bool kept_most = static_cast<double>(kept_) > most_ * static_cast<double>(tested_);
      left_out_ = kept_most ? pause_ : 0;
      pause_ = kept_most ? std::min<int64_t>(2 * pause_, kLongestPause) : 1;
      tested_ = kept_ = 0;
    }
    return on_ && left_out_-- <= 0;
  }

  void count(int64_t tested, int64_t kept) {
    tested_ += tested;
    kept_ += kept;
  }

 private:
  static constexpr int64_t kLongestPause = 4;

  bool on_;
  double most_;
  int64_t tested_ = 0, kept_ = 0, left_out_ = 0, pause_ = 1;
};

class Sweep {
 public:
  // mirrored: a product is offered to the lists of both nodes, and of a tile on the diagonal only i < j counts.
  Sweep(Search& search, const Panel& panel, bool mirrored) : search_(search), panel_(panel), mirrored_(mirrored) {}

  // Computes all tiles of the strips and the slivers.
  void run(const Run* strips, int64_t strip_count, int64_t sliver_begin, int64_t sliver_end) {
    for (int64_t b = sliver_begin; b < sliver_end; ++b) {
      columns_ = search_.slivers[b];
      keys_ = panel_.keys + (b - panel_.first) * search_.sliver_floats();
      bounds_ = panel_.bounds + (b - panel_.first) * search_.bound_floats();
      for (int stage = 0; stage < kProduct; ++stage) tests_[stage] = trials_[stage].begin();
      const int first = stage_after(-1);
      for (int64_t s = 0; s < strip_count; ++s) {
        const Run strip = strips[s];
        TopLists& lists = strip.image == columns_.image ? search_.intra : search_.inter;
        if (!lists.keeps_any()) continue;
        if (mirrored_ && strip.first >= columns_.first + columns_.count - 1) continue;
        if (lists_ != &lists) {
          finish();
          lists_ = &lists;
          if (mirrored_) set_column_least();
        }
        if (first == 0) {
          test(strip);
        } else {
          for (int64_t r = 0; r < strip.count; ++r) add(first, strip.first + r);
        }
      }
      finish();
      lists_ = nullptr;
    }
  }

 private:
  // The stages of a row: the levels of bounds and the product.
  static constexpr int kProduct = 2;
  static constexpr BoundLevel kLevels[kProduct] = {kCoarse, kFine};

  struct Waiting {
    int64_t row[kTileRows];
    int count = 0;
  };

  // Tests the coarse bounds of a whole strip. An outdated least value of a list is safe, since it only increases.
  void test(const Run& strip) {
    float last[kTileRows];
    const float* least = lists_->least(strip.first);
    if (strip.count < kTileRows) {
      std::fill(last, last + kTileRows, std::numeric_limits<float>::infinity());
      least = std::copy_n(least, strip.count, last) - strip.count;
    }
    uint32_t reached = rows_reaching_(kCoarse.depth(), search_.query_bounds.get() + strip.first * kBoundFloats,
                                      kBoundFloats, bounds_, least, mirrored_ ? column_least_ : nullptr);
    reached &= (1u << strip.count) - 1;
    const int next = stage_after(0);
    int kept = 0;
    for (; reached != 0; reached &= reached - 1, ++kept) add(next, strip.first + __builtin_ctz(reached));
    trials_[0].count(strip.count, kept);
  }

  int stage_after(int stage) const {
    do ++stage;
    while (stage < kProduct && !tests_[stage]);
    return stage;
  }

  void add(int stage, int64_t row) {
    Waiting& waiting = waiting_[stage];
    waiting.row[waiting.count++] = row;
    if (waiting.count == kTileRows) pass(stage);
  }

  void finish() {
    for (int stage = 0; stage <= kProduct; ++stage) {
      if (waiting_[stage].count > 0) pass(stage);
    }
  }

  void pass(int stage) {
    const Waiting rows = waiting_[stage];
    waiting_[stage].count = 0;
    Tile tile;
    if (stage == kProduct) {
      if (multiply(rows, search_.query, search_.depth, search_.depth, keys_, tile)) offer(rows, tile);
      if (mirrored_) set_column_least();
      return;
    }
    const BoundLevel level = kLevels[stage];
    int kept = 0;
    if (multiply(rows, search_.query_bounds.get() + level.offset, kBoundFloats, level.depth(),
                 bounds_ + level.offset * kTileColumns, tile)) {
      const int next = stage_after(stage);
      for (int r = 0; r < rows.count; ++r) {
        if ((tile.for_row[r] | tile.for_column[r]) == 0) continue;
        add(next, rows.row[r]);
        ++kept;
      }
    }
    trials_[stage].count(rows.count, kept);
  }

  // Returns false where no product of the rows may enter a list.
  bool multiply(const Waiting& rows, const float* query, int64_t stride, int64_t depth, const float* keys,
                Tile& tile) const {
    const float* queries[kTileRows];
    float row_least[kTileRows];
    for (int r = 0; r < kTileRows; ++r) {
      const int64_t row = rows.row[std::min(r, rows.count - 1)];
      queries[r] = query + row * stride;
      row_least[r] = r < rows.count ? *lists_->least(row) : std::numeric_limits<float>::infinity();
    }
    return tile_(depth, queries, keys, row_least, mirrored_ ? column_least_ : nullptr, tile);
  }

  void set_column_least() {
    std::fill(column_least_, column_least_ + kTileColumns, std::numeric_limits<float>::infinity());
    std::copy_n(lists_->least(columns_.first), columns_.count, column_least_);
  }

  void offer(const Waiting& rows, const Tile& tile) {
    for (int r = 0; r < rows.count; ++r) {
      const int64_t i = rows.row[r];
      for (uint32_t bits = tile.for_row[r]; bits != 0; bits &= bits - 1) {
        const int c = __builtin_ctz(bits);
        const int64_t j = columns_.first + c;
        if (c < columns_.count && (mirrored_ ? i < j : i != j)) lists_->offer(i, tile.value[r][c], j);
      }
      for (uint32_t bits = tile.for_column[r]; bits != 0; bits &= bits - 1) {
        const int c = __builtin_ctz(bits);
        const int64_t j = columns_.first + c;
        if (c < columns_.count && i < j) lists_->offer(j, tile.value[r][c], i);
      }
    }
  }

  Search& search_;
  Panel panel_;
  bool mirrored_;
  TileFunction tile_ = pick_tile();
  ReachFunction rows_reaching_ = pick_rows_reaching();
  // A level must prune more than its share of the cost of the later stages.
  Trial trials_[kProduct] = {{search_.bounds.worthwhile(), 0.75}, {search_.bounds.worthwhile(), 0.6}};
  bool tests_[kProduct] = {};
  Run columns_{};
  const float* keys_ = nullptr;
  const float* bounds_ = nullptr;
  TopLists* lists_ = nullptr;
  float column_least_[kTileColumns];
  Waiting waiting_[kProduct + 1];
};

}  // namespace sg
