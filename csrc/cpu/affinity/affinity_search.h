// The state of one neighbour search: the key slivers, the lists, and the sweep over tiles that fills them.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/affinity/affinity_tile.h"
#include "cpu/core/aligned.h"
#include "cpu/affinity/upper_bounds.h"
#include "cpu/affinity/pack.h"
#include "cpu/core/parallel.h"
#include "cpu/affinity/top_lists.h"

namespace sg {

constexpr int64_t kPanelBytes = int64_t{16} << 20;   // packed keys of a panel
constexpr int64_t kBlockBytes = int64_t{192} << 10;  // query rows of a block, which stay in the second-level cache

// Consecutive nodes of one image: a strip of at most 6 rows or a sliver of at most 16 columns.
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

// Packed keys of the slivers from `first` on, and their packed bound rows where bounds are in use.
struct Panel {
  int64_t first;
  const float* keys;
  const float* bounds;
};

struct Search {
  const float* query;
  const float* key;
  int64_t nodes;
  int64_t depth;
  std::vector<Run> slivers;
  TopLists intra;
  TopLists inter;
  UpperBounds bounds{query, key, nodes, depth};
  AlignedFloats query_bounds = bound_queries();  // kBoundFloats for each query, where bounds are in use

  int64_t sliver_floats() const { return depth * kTileColumns; }
  int64_t bound_floats() const { return bounds.worthwhile() ? kBoundFloats * kTileColumns : 0; }

  int64_t strips_of_block() const {
    const int64_t strip_bytes = std::max<int64_t>(1, depth) * kTileRows * static_cast<int64_t>(sizeof(float));
    return std::max<int64_t>(2, std::min<int64_t>(64, kBlockBytes / strip_bytes));
  }

  void pack(int64_t sliver, float* keys, float* key_bounds) const {
    const Run run = slivers[sliver];
    pack_run(key + run.first * depth, run.count, depth, keys);
    if (!bounds.worthwhile()) return;
    float rows[kTileColumns * kBoundFloats];
    const float* from = query_bounds.get() + run.first * kBoundFloats;
    if (key != query) {
      bounds.write(key + run.first * depth, run.count, rows);
      from = rows;
    }
    pack_run(from, run.count, kBoundFloats, key_bounds);
  }

 private:
  AlignedFloats bound_queries() const {
    if (!bounds.worthwhile()) return nullptr;
    AlignedFloats rows = aligned_floats((nodes + kTileRows) * kBoundFloats);  // the last tile reads past the last row
    constexpr int64_t kTaskRows = 192;
    for_each_task((nodes + kTaskRows - 1) / kTaskRows, [&](int64_t task) {
      const int64_t begin = task * kTaskRows, count = std::min(kTaskRows, nodes - begin);
      bounds.write(query + begin * depth, count, rows.get() + begin * kBoundFloats);
    });
    return rows;
  }

  // Pads a sliver with copies of its last row.
  static void pack_run(const float* from, int64_t count, int64_t depth, float* packed) {
    const float* rows[kTileColumns];
    for (int64_t c = 0; c < kTileColumns; ++c) rows[c] = from + std::min(c, count - 1) * depth;
    pack_sliver(rows, depth, packed);
  }
};

// Packs the slivers panel by panel and calls use(begin, end, past, panel): the panel holds the slivers of the groups
// [begin, end), up to the sliver `past`. ends[g] is one past the last sliver of group g.
template <class Use>
void for_each_panel(const Search& search, const std::vector<int64_t>& ends, const Use& use) {
  const int64_t sliver_floats = search.sliver_floats() + search.bound_floats();
  const int64_t sliver_bytes = std::max<int64_t>(64, sliver_floats * static_cast<int64_t>(sizeof(float)));
  const int64_t most = std::max<int64_t>(1, kPanelBytes / sliver_bytes);
  AlignedFloats keys, bounds;
  int64_t capacity = 0;
  for (size_t next = 0, begin = 0; begin < ends.size(); begin = next) {
    const int64_t first = begin == 0 ? 0 : ends[begin - 1];
    for (next = begin + 1; next < ends.size() && ends[next] - first <= most; ++next) {
    }
    const int64_t past = ends[next - 1];
    if (past - first > capacity) {
      capacity = past - first;
      keys.reset();
      bounds.reset();
      keys = aligned_floats(capacity * search.sliver_floats());
      bounds = aligned_floats(capacity * search.bound_floats());
    }
    constexpr int64_t kSlivers = 16;  // packed by one task
    for_each_task((past - first + kSlivers - 1) / kSlivers, [&](int64_t task) {
      for (int64_t b = first + task * kSlivers; b < std::min(past, first + (task + 1) * kSlivers); ++b) {
        search.pack(b, keys.get() + (b - first) * search.sliver_floats(),
                    bounds.get() + (b - first) * search.bound_floats());
      }
    });
    use(static_cast<int64_t>(begin), static_cast<int64_t>(next), past, Panel{first, keys.get(), bounds.get()});
  }
}

}  // namespace sg
