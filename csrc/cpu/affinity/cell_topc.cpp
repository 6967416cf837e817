// cell_topc: for every query the c best keys of the cells that it probes (inverted file search).
//
// A task groups its queries by the cells that they probe. It packs the keys of a cell into slivers of 16 columns and
// multiplies them with the group, six queries at a time; a tile is stored only where a product may enter a list
// (affinity_tile.h). The first probe of each query comes first, since it raises the least values of the lists early.

#include <algorithm>
#include <cstring>
#include <limits>
#include <tuple>
#include <vector>

#include "cpu/affinity/affinity_search.h"
#include "cpu/core/half.h"
#include "cpu/affinity/pack.h"
#include "cpu/core/parallel.h"
#include "cpu/core/torch_api.h"

namespace sg {
namespace {

constexpr const char* kOp = "cell_topc";
constexpr int64_t kLeastTask = 64, kMostTask = 1024;  // queries
constexpr int64_t kPackedBytes = int64_t{256} << 10;  // keys of a cell packed at a time

// A list entry as one 64-bit key: the bits of the value, which sort as integers, above the complement of the key's
// position. The order is total, so the list does not depend on the order of the candidates. 0 is a free place.
uint64_t entry(float value, int64_t position) {
  value += 0.0f;  // -0 becomes 0: they are equal
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits = bits >> 31 ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(bits) << 32 | static_cast<uint32_t>(~position);
}

float value_of(uint64_t key) {
  const uint32_t ordered = static_cast<uint32_t>(key >> 32);
  const uint32_t bits = ordered >> 31 ? ordered & 0x7fffffffu : ~ordered;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Returns a bit mask of the 16 images that differ from `image`. Near keys are often of the query's own image, and a
// branch for each of them would be mispredicted.
uint32_t differing(const int32_t* images, int32_t image) {
  uint32_t mask = 0;
  for (int c = 0; c < kTileColumns; ++c) mask |= static_cast<uint32_t>(images[c] != image) << c;
  return mask;
}

using DifferingFunction = uint32_t (*)(const int32_t* images, int32_t image);

#ifdef SG_X86

SG_AVX2 uint32_t differing_avx2(const int32_t* images, int32_t image) {
  const __m256i own = _mm256_set1_epi32(image);
  const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(images));
  const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(images + 8));
  const int first = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(low, own)));
  const int second = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(high, own)));
  return ~(static_cast<uint32_t>(first) | static_cast<uint32_t>(second) << 8);
}

#endif

DifferingFunction pick_differing() {
#ifdef SG_X86
  if (has_avx2()) return differing_avx2;
#endif
  return differing;
}

struct Problem {
  const float* query;
  const int32_t* query_image;
  HalfOrFloat keys;
  const int32_t* key_image;
  const int64_t* cell_ptr;
  const int32_t* probes;
  int64_t probed;
  int64_t places;
  int32_t* columns;
  float* values;
};

class Task {
 public:
  Task(const Problem& problem, int64_t begin, int64_t end)
      : p_(problem),
        begin_(begin),
        depth_(problem.keys.depth),
        lists_(static_cast<size_t>((end - begin) * problem.places), 0),
        least_(static_cast<size_t>(end - begin), -std::numeric_limits<float>::infinity()),
        sliver_floats_(std::max<int64_t>(1, depth_) * kTileColumns),
        most_slivers_(std::max<int64_t>(1, kPackedBytes / (4 * sliver_floats_))),
        packed_(aligned_floats(most_slivers_ * sliver_floats_)),
        wide_(static_cast<size_t>(depth_ * kTileColumns)) {
    group(begin, end);
  }

  void run() {
    for (size_t first = 0, past = 0; first < pairs_.size(); first = past) {
      while (past < pairs_.size() && pairs_[past].cell == pairs_[first].cell && pairs_[past].later == pairs_[first].later)
        ++past;
      const int64_t cell = pairs_[first].cell;
      for (int64_t key = p_.cell_ptr[cell]; key < p_.cell_ptr[cell + 1]; key += most_slivers_ * kTileColumns) {
        sweep(first, past, key, std::min(p_.cell_ptr[cell + 1], key + most_slivers_ * kTileColumns));
      }
    }
    write();
  }

 private:
  struct Pair {
    bool later;
    int32_t cell;
    int32_t query;
  };

  // Sorts the pairs of the queries [begin, end) by (later, cell, query) with a stable counting sort, over the range of
  // the cells that these queries probe.
  void group(int64_t begin, int64_t end) {
    int32_t lowest = std::numeric_limits<int32_t>::max(), highest = -1;
    for (int64_t at = begin * p_.probed; at < end * p_.probed; ++at) {
      if (p_.probes[at] < 0) continue;
      lowest = std::min(lowest, p_.probes[at]);
      highest = std::max(highest, p_.probes[at]);
    }
    if (highest < 0) return;
    const size_t cells = static_cast<size_t>(highest - lowest) + 1;
    std::vector<size_t> starts(2 * cells + 1, 0);
    const auto each = [&](const auto& use) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t j = 0; j < p_.probed; ++j) {
          const int32_t cell = p_.probes[i * p_.probed + j];
          if (cell < 0) continue;
          const size_t bin = (j > 0 ? cells : 0) + static_cast<size_t>(cell - lowest);
          use(bin, Pair{j > 0, cell, static_cast<int32_t>(i - begin)});
        }
      }
    };
    each([&](size_t bin, const Pair&) { ++starts[bin + 1]; });
    for (size_t bin = 0; bin < 2 * cells; ++bin) starts[bin + 1] += starts[bin];
    pairs_.resize(starts[2 * cells]);
    each([&](size_t bin, const Pair& pair) { pairs_[starts[bin]++] = pair; });
  }

  void pack(int64_t first_key, int64_t past_key) {
    const float* rows[kTileColumns];
    float* to = packed_.get();
    for (int64_t key = first_key; key < past_key; key += kTileColumns, to += sliver_floats_) {
      for (int64_t c = 0; c < kTileColumns; ++c) {
        rows[c] = p_.keys.row(std::min(key + c, past_key - 1), wide_.data() + c * depth_);
      }
      pack_sliver(rows, depth_, to);
    }
  }

  // Multiplies the queries of the pairs [first, past) with the keys [first_key, past_key) and updates the lists.
  void sweep(size_t first, size_t past, int64_t first_key, int64_t past_key) {
    pack(first_key, past_key);
    const float* rows[kTileRows];
    float least[kTileRows];
    Tile tile;
    for (size_t at = first; at < past; at += kTileRows) {
      const int count = static_cast<int>(std::min<size_t>(kTileRows, past - at));
      for (int r = 0; r < kTileRows; ++r) {
        rows[r] = p_.query + (begin_ + pairs_[at + static_cast<size_t>(std::min(r, count - 1))].query) * depth_;
      }
      const float* packed = packed_.get();
      for (int64_t key = first_key; key < past_key; key += kTileColumns, packed += sliver_floats_) {
        for (int r = 0; r < kTileRows; ++r) {
          least[r] = r < count ? least_[pairs_[at + r].query] : std::numeric_limits<float>::infinity();
        }
        if (!tile_(depth_, rows, packed, least, nullptr, tile)) continue;
        const int64_t left = std::min<int64_t>(kTileColumns, past_key - key);
        const uint32_t there = (1u << left) - 1;
        int32_t images[kTileColumns] = {};
        std::copy_n(p_.key_image + key, left, images);
        for (int r = 0; r < count; ++r) {
          if ((tile.for_row[r] & there) == 0) continue;
          const int32_t query = pairs_[at + r].query;
          const uint32_t others = differing_(images, p_.query_image[begin_ + query]);
          for (uint32_t bits = tile.for_row[r] & there & others; bits != 0; bits &= bits - 1) {
            const int c = __builtin_ctz(bits);
            offer(query, tile.value[r][c], key + c);
          }
        }
      }
    }
  }

  void offer(int32_t query, float value, int64_t position) {
    uint64_t* list = lists_.data() + query * p_.places;
    const uint64_t key = entry(value, position);
    int64_t place = p_.places - 1;
    if (key <= list[place]) return;
    for (; place > 0 && list[place - 1] < key; --place) list[place] = list[place - 1];
    list[place] = key;
    if (list[p_.places - 1] != 0) least_[query] = value_of(list[p_.places - 1]);
  }

  void write() const {
    const int64_t places = p_.places;
    for (size_t at = 0; at < lists_.size(); ++at) {
      p_.columns[begin_ * places + at] = lists_[at] == 0 ? -1 : static_cast<int32_t>(~static_cast<uint32_t>(lists_[at]));
      p_.values[begin_ * places + at] = lists_[at] == 0 ? 0.0f : value_of(lists_[at]);
    }
  }

  const Problem& p_;
  int64_t begin_;
  int64_t depth_;
  std::vector<uint64_t> lists_;
  std::vector<float> least_;
  int64_t sliver_floats_;
  int64_t most_slivers_;
  AlignedFloats packed_;
  std::vector<float> wide_;
  std::vector<Pair> pairs_;
  TileFunction tile_ = pick_tile();
  DifferingFunction differing_ = pick_differing();
};

std::tuple<Tensor, Tensor> cell_topc(const Tensor& query, const Tensor& query_image, const Tensor& keys,
                                     const Tensor& key_image, const Tensor& cell_ptr, const Tensor& probes,
                                     int64_t c) {
  check_tensor(kOp, "query", query, 2, ScalarType::Float);
  check_tensor(kOp, "query_image", query_image, 1, ScalarType::Int);
  const HalfOrFloat matrix = check_half_or_float(kOp, "keys", keys);
  check_tensor(kOp, "key_image", key_image, 1, ScalarType::Int);
  check_tensor(kOp, "cell_ptr", cell_ptr, 1, ScalarType::Long);
  check_tensor(kOp, "probes", probes, 2, ScalarType::Int);
  const int64_t queries = query.size(0);
  SG_CHECK(keys.size(1) == query.size(1), kOp, "keys must have as many columns as query, ", query.size(1), ", got ",
           keys.size(1));
  SG_CHECK(query_image.numel() == queries, kOp, "query_image must have an element for every query, ", queries,
           ", got ", query_image.numel());
  SG_CHECK(matrix.rows <= std::numeric_limits<int32_t>::max(), kOp, "keys must have at most 2147483647 rows, got ",
           matrix.rows);
  SG_CHECK(key_image.numel() == matrix.rows, kOp, "key_image must have an element for every key, ", matrix.rows,
           ", got ", key_image.numel());
  SG_CHECK(cell_ptr.numel() >= 1, kOp, "cell_ptr must have cells + 1 elements, got none");
  SG_CHECK(probes.size(0) == queries, kOp, "probes must have a row for every query, ", queries, ", got ",
           probes.size(0));
  SG_CHECK(c >= 0, kOp, "c must be at least 0, got ", c);
  const int64_t cells = cell_ptr.numel() - 1, probed = probes.size(1);
  const int64_t* starts = cell_ptr.const_data_ptr<int64_t>();
  SG_CHECK(starts[0] >= 0 && starts[cells] <= matrix.rows, kOp, "cell_ptr must lie in [0, ", matrix.rows, "], got ",
           starts[0], " to ", starts[cells]);
  for (int64_t i = 0; i < cells; ++i) {
    SG_CHECK(starts[i] <= starts[i + 1], kOp, "cell_ptr must not decrease, got cell_ptr[", i, "] = ", starts[i],
             " and cell_ptr[", i + 1, "] = ", starts[i + 1]);
  }
  const int32_t* probe = probes.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < queries * probed; ++i) {
    SG_CHECK(probe[i] < cells, kOp, "probes must be below the number of cells, ", cells, ", got ", probe[i]);
  }
  Tensor columns = torch::stable::new_empty(query, {queries, c}, ScalarType::Int);
  Tensor values = torch::stable::new_empty(query, {queries, c});
  if (c == 0) return {columns, values};
  const Problem problem{query.const_data_ptr<float>(),
                        query_image.const_data_ptr<int32_t>(),
                        matrix,
                        key_image.const_data_ptr<int32_t>(),
                        starts,
                        probe,
                        probed,
                        c,
                        columns.mutable_data_ptr<int32_t>(),
                        values.mutable_data_ptr<float>()};
  const int64_t size = std::max(kLeastTask, std::min(kMostTask, queries / (4 * thread_count())));
  for_each_task((queries + size - 1) / size,
                [&](int64_t task) { Task(problem, task * size, std::min(queries, (task + 1) * size)).run(); });
  return {columns, values};
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("cell_topc", TORCH_BOX(&sg::cell_topc)); }
