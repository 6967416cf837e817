// The state of one neighbour search: the key slivers, the lists, and the sweep over tiles that fills them.

#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <vector>

#include "cpu/affinity_tile.h"
#include "cpu/parallel.h"
#include "cpu/top_lists.h"

namespace sg {

constexpr int64_t kPanelBytes = int64_t{16} << 20;   // packed keys at a time
constexpr int64_t kBlockBytes = int64_t{192} << 10;  // query rows that stay in the second-level cache

// A run of nodes of one image: 6 at most where it is a strip of rows, 16 where it is a sliver of columns.
struct Run {
  int32_t first;
  int32_t count;
  int32_t image;
};

inline void cut(int64_t first, int64_t past, int32_t image, int64_t width, std::vector<Run>& runs) {
  for (int64_t at = first; at < past; at += width) {
    runs.push_back({static_cast<int32_t>(at), static_cast<int32_t>(std::min(width, past - at)), image});
  }
}

struct FreeAligned {
  void operator()(float* data) const { ::operator delete(data, std::align_val_t{64}); }
};
using AlignedFloats = std::unique_ptr<float, FreeAligned>;

inline AlignedFloats aligned_floats(int64_t count) {
  return AlignedFloats(
      static_cast<float*>(::operator new(static_cast<size_t>(count) * sizeof(float), std::align_val_t{64})));
}

struct Search {
  const float* query;
  const float* key;
  int64_t depth;
  std::vector<Run> slivers;
  TopLists intra;
  TopLists inter;
  TileFunction tile = pick_tile();

  bool wants(int32_t row_image, int32_t column_image) const {
    return row_image == column_image ? intra.keeps_any() : inter.keeps_any();
  }

  int64_t sliver_floats() const { return depth * kTileColumns; }

  int64_t strips_of_block() const {
    const int64_t strip_bytes = std::max<int64_t>(1, depth) * kTileRows * static_cast<int64_t>(sizeof(float));
    return std::max<int64_t>(2, std::min<int64_t>(64, kBlockBytes / strip_bytes));
  }

  void pack(int64_t sliver, float* packed) const {
    const Run run = slivers[sliver];
    for (int64_t c = 0; c < kTileColumns; ++c) {
      const float* row = key + (run.first + c) * depth;
      for (int64_t k = 0; k < depth; ++k) packed[k * kTileColumns + c] = c < run.count ? row[k] : 0.0f;
    }
  }

  // All tiles of the strips and the slivers. mirrored: every value counts in both directions, and of a tile that the
  // diagonal crosses only the values above it.
  void sweep(const Run* strips, int64_t strip_count, int64_t sliver_begin, int64_t sliver_end, const float* packed,
             bool mirrored) {
    const float* query_rows[kTileRows];
    float row_least[kTileRows], column_least[kTileColumns];
    Tile candidates;
    for (int64_t b = sliver_begin; b < sliver_end; ++b, packed += sliver_floats()) {
      const Run columns = slivers[b];
      for (int64_t s = 0; s < strip_count; ++s) {
        const Run rows = strips[s];
        if (!wants(rows.image, columns.image)) continue;
        if (mirrored && rows.first >= columns.first + columns.count - 1) continue;
        TopLists& lists = rows.image == columns.image ? intra : inter;
        for (int r = 0; r < kTileRows; ++r) {
          const int64_t row = rows.first + std::min(r, rows.count - 1);
          query_rows[r] = query + row * depth;
          row_least[r] = r < rows.count ? *lists.least(row) : std::numeric_limits<float>::infinity();
        }
        if (mirrored) {
          std::fill(column_least, column_least + kTileColumns, std::numeric_limits<float>::infinity());
          std::copy_n(lists.least(columns.first), columns.count, column_least);
        }
        if (!tile(depth, query_rows, packed, row_least, mirrored ? column_least : nullptr, candidates)) continue;
        for (int r = 0; r < rows.count; ++r) {
          const int64_t i = rows.first + r;
          for (uint32_t bits = candidates.for_row[r]; bits != 0; bits &= bits - 1) {
            const int c = __builtin_ctz(bits);
            const int64_t j = columns.first + c;
            if (c < columns.count && (mirrored ? i < j : i != j)) lists.offer(i, candidates.value[r][c], j);
          }
          for (uint32_t bits = candidates.for_column[r]; bits != 0; bits &= bits - 1) {
            const int c = __builtin_ctz(bits);
            const int64_t j = columns.first + c;
            if (c < columns.count && i < j) lists.offer(j, candidates.value[r][c], i);
          }
        }
      }
    }
  }
};

// Packs the slivers panel by panel and calls panel(first sliver, past sliver, packed).
template <class Panel>
void for_each_panel(const Search& search, const std::vector<int64_t>& ends, const Panel& panel) {
  const int64_t sliver_bytes = std::max<int64_t>(64, search.sliver_floats() * static_cast<int64_t>(sizeof(float)));
  const int64_t most = std::max<int64_t>(1, kPanelBytes / sliver_bytes);
  AlignedFloats packed;
  int64_t capacity = 0;
  for (size_t next = 0, begin = 0; begin < ends.size(); begin = next) {
    const int64_t first = begin == 0 ? 0 : ends[begin - 1];
    for (next = begin + 1; next < ends.size() && ends[next] - first <= most; ++next) {
    }
    const int64_t past = ends[next - 1];
    if (past - first > capacity) {
      capacity = past - first;
      packed.reset();
      packed = aligned_floats(capacity * search.sliver_floats());
    }
    constexpr int64_t kSlivers = 16;  // packed by one task
    for_each_task((past - first + kSlivers - 1) / kSlivers, [&](int64_t task) {
      for (int64_t b = first + task * kSlivers; b < std::min(past, first + (task + 1) * kSlivers); ++b) {
        search.pack(b, packed.get() + (b - first) * search.sliver_floats());
      }
    });
    panel(static_cast<int64_t>(begin), static_cast<int64_t>(next), first, past, packed.get());
  }
}

}  // namespace sg
