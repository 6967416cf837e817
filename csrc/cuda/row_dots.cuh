// Dot products of one query with 32 rows at a time, by one warp; cosine_topc and cell_topc share them.
//
// kRowLanes threads share a product, each with every kRowLanes-th vector of V columns, and reduce their sums by
// shuffles. A value depends on its two rows alone, not on the other rows of its warp or call, and exchanging the two
// rows keeps its bits.
//
// Every query has different rows, given by indices, so a dense matrix product does not apply; gathering the rows for
// one would write them and read them a second time.

#pragma once

#include "cuda/lanes.cuh"
#include "cuda/widen.cuh"

namespace sg::cuda {

constexpr int kRowLanes = 8;
constexpr int kRowGroups = kWarp / kRowLanes;  // products at a time

// Rows as they are stored.
template <class X>
struct StoredRows {
  const X* rows;

  template <int V>
  __device__ __forceinline__ Vector<float, V> load(int64_t row, int64_t depth, int64_t column) const {
    const Vector<X, V> stored = load_vector<X, V>(rows + row * depth + column);
    Vector<float, V> result;
#pragma unroll
    for (int k = 0; k < V; ++k) result.at[k] = widen(stored.at[k]);
    return result;
  }
};

// (row - mean) scale, each element rounded as unit_project rounds it.
template <class X>
struct UnitRows {
  StoredRows<X> stored;
  const float* mean;
  const float* scale;

  template <int V>
  __device__ __forceinline__ Vector<float, V> load(int64_t row, int64_t depth, int64_t column) const {
    const Vector<float, V> centre = load_vector<float, V>(mean + column);
    Vector<float, V> result = stored.template load<V>(row, depth, column);
    const float by = scale[row];
#pragma unroll
    for (int k = 0; k < V; ++k) result.at[k] = (result.at[k] - centre.at[k]) * by;
    return result;
  }
};

// query . row for the row that each lane names; 0 where it is negative. Only the first `count` lanes may name one. All
// lanes of the warp come.
template <int V, class Rows>
__device__ __forceinline__ float row_dots(const float* __restrict__ query, const Rows& rows, int64_t depth, int64_t row,
                                          int count, int lane) {
  const int group = lane / kRowLanes, part = lane % kRowLanes;
  float own = 0;
#pragma unroll 1
  for (int step = 0; step * kRowGroups < count; ++step) {
    const int64_t at = __shfl_sync(kWholeWarp, row, step * kRowGroups + group);
    float sum = 0;
    if (at >= 0) {
#pragma unroll 1  // two iterations at a time make ptxas spill
      for (int64_t c = part * V; c < depth; c += kRowLanes * V) {
        const Vector<float, V> x = load_vector<float, V>(query + c), y = rows.template load<V>(at, depth, c);
#pragma unroll
        for (int k = 0; k < V; ++k) sum += x.at[k] * y.at[k];
      }
    }
#pragma unroll
    for (int by = kRowLanes / 2; by > 0; by /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, by);
    // Lane 4 step + g named the row of group g.
    const float found = __shfl_sync(kWholeWarp, sum, lane % kRowGroups * kRowLanes);
    if (lane / kRowGroups == step) own = found;
  }
  return own;
}

// Whether rows of this depth can be read four columns at a time.
template <class X>
bool dots_aligned(const float* query, const X* rows, int64_t depth) {
  return rows_aligned(query, depth, 4) && rows_aligned(rows, depth, 4);
}

}  // namespace sg::cuda
