// topc_merge: the c best candidates of every row from several candidate lists.

#include <algorithm>
#include <cstring>
#include <limits>
#include <tuple>
#include <vector>

#include "cpu/core/csr.h"
#include "cpu/core/torch_api.h"

namespace sg {
namespace {

constexpr const char* kOp = "topc_merge";
constexpr int64_t kPartRows = 256;

struct List {
  Csr csr;
  const float* values;
};

// Returns the bits of a float as an integer that sorts as the float does; the float must not be NaN.
uint32_t ordered(float value) {
  value += 0.0f;  // -0 becomes 0: they are equal
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

float number(uint32_t key) {
  const uint32_t bits = key >> 31 ? key & 0x7fffffffu : ~key;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Writes the c best of row i to `keys`, ascending by column: the column above the complement of the ordered value.
void merge_row(const std::vector<List>& lists, int64_t i, int64_t c, std::vector<uint64_t>& keys) {
  keys.clear();
  for (const List& list : lists) {
    for (int64_t p = list.csr.indptr[i]; p < list.csr.indptr[i + 1]; ++p) {
      if (list.values[p] != list.values[p]) continue;
      const uint32_t low = ~ordered(list.values[p]);
      keys.push_back(static_cast<uint64_t>(list.csr.indices[p]) << 32 | low);
    }
  }
  // The highest value of a column comes first.
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end(), [](uint64_t a, uint64_t b) { return a >> 32 == b >> 32; }),
             keys.end());
  if (static_cast<int64_t>(keys.size()) <= c) return;
  const auto swap_halves = [](uint64_t& key) { key = key << 32 | key >> 32; };
  std::for_each(keys.begin(), keys.end(), swap_halves);
  std::nth_element(keys.begin(), keys.begin() + c, keys.end());
  keys.resize(static_cast<size_t>(c));
  std::for_each(keys.begin(), keys.end(), swap_halves);
  std::sort(keys.begin(), keys.end());
}

std::tuple<Tensor, Tensor, Tensor> topc_merge(const std::vector<Tensor>& indptr, const std::vector<Tensor>& indices,
                                              const std::vector<Tensor>& values, int64_t c) {
  SG_CHECK(!indptr.empty(), kOp, "indptr must hold at least one tensor, got none");
  SG_CHECK(indices.size() == indptr.size() && values.size() == indptr.size(), kOp,
           "indptr, indices and values must hold equally many tensors, got ", indptr.size(), ", ", indices.size(),
           " and ", values.size());
  SG_CHECK(c >= 0, kOp, "c must be at least 0, got ", c);
  std::vector<List> lists;
  for (size_t k = 0; k < indptr.size(); ++k) {
    const Csr csr = check_csr(kOp, indptr[k], indices[k], std::numeric_limits<int32_t>::max());
    check_values(kOp, values[k], csr, ScalarType::Float);
    lists.push_back({csr, values[k].const_data_ptr<float>()});
    SG_CHECK(csr.rows == lists[0].csr.rows, kOp, "all lists must have as many rows as the first, ", lists[0].csr.rows,
             ", got ", csr.rows, " in list ", k);
    if (!rows_valid(csr, 0, csr.rows)) fail_csr(kOp, csr);
  }

  const int64_t rows = lists[0].csr.rows, parts = (rows + kPartRows - 1) / kPartRows;
  Tensor out_indptr = torch::stable::new_empty(indptr[0], {rows + 1});
  int64_t* starts = out_indptr.mutable_data_ptr<int64_t>();
  std::vector<std::vector<uint64_t>> found(static_cast<size_t>(parts));
  for_each_task(parts, [&](int64_t part) {
    std::vector<uint64_t> keys;
    for (int64_t i = part * kPartRows; i < std::min(rows, (part + 1) * kPartRows); ++i) {
      merge_row(lists, i, c, keys);
      starts[i + 1] = static_cast<int64_t>(keys.size());
      found[part].insert(found[part].end(), keys.begin(), keys.end());
    }
  });
  starts[0] = 0;
  for (int64_t i = 0; i < rows; ++i) starts[i + 1] += starts[i];
  Tensor out_indices = torch::stable::new_empty(indices[0], {starts[rows]});
  Tensor out_values = torch::stable::new_empty(values[0], {starts[rows]});
  int32_t* columns = out_indices.mutable_data_ptr<int32_t>();
  float* weights = out_values.mutable_data_ptr<float>();
  for_each_task(parts, [&](int64_t part) {
    int64_t at = starts[part * kPartRows];
    for (const uint64_t key : found[part]) {
      columns[at] = static_cast<int32_t>(key >> 32);
      weights[at++] = number(~static_cast<uint32_t>(key));
    }
  });
  return {out_indptr, out_indices, out_values};
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("topc_merge", TORCH_BOX(&sg::topc_merge)); }
