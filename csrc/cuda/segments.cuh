// Segmented sums over the rows of a CSR matrix; csr_spmm, chebyshev_step_ and rayleigh share them.
//
// Merge path (Merrill and Garland 2016): the entries of each row followed by one mark for the row's end form a list of
// entries + rows items, which is cut into segments of kSegment items. A segment is the work of one group of threads,
// so rows without entries and rows with a million cost what they hold. A row that passes the end of a segment leaves
// its sum in `carry`; a second pass adds these sums in the order of the segments. There are no atomic additions and
// the cuts depend on the matrix alone: the result is the same, bit by bit, on every device and in every run.
//
// The threads of a group read the same index and value, which is one transaction, so no shuffles tie a group to a warp.

#pragma once

#include <cstdint>

#include "cuda/lanes.cuh"
#include "cuda/widen.cuh"

namespace sg::cuda {

constexpr int kSegment = 128;    // items
constexpr int kBatch = 4;        // rows of x that a thread has on the way at a time
constexpr int kShortJoin = 32;   // segments that one group joins by itself

inline int64_t segment_count(int64_t rows, int64_t entries) { return ceil_div(rows + entries, kSegment); }

// first_row[g] is the row to which the first item of segment g belongs; first_row[segments] = rows.
static __global__ void __launch_bounds__(kMostThreads) segment_plan(int64_t rows, int64_t entries, int64_t segments,
                                                            const int64_t* __restrict__ indptr,
                                                            int64_t* __restrict__ first_row) {
  const int64_t segment = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (segment > segments) return;
  const int64_t item = segment < segments ? segment * kSegment : rows + entries;
  int64_t low = 0, high = rows;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (indptr[middle + 1] + middle < item) low = middle + 1;
    else high = middle;
  }
  first_row[segment] = low;
}

template <class T, class X, int V>
__device__ __forceinline__ void add_product(Vector<T, V>& sum, T factor, const Vector<X, V>& vector) {
#pragma unroll
  for (int k = 0; k < V; ++k) sum.at[k] += factor * widen(vector.at[k]);
}

// One thread's columns of one segment. `entries` makes the factor of an entry from what load() brings and from
// own(row). `sums` gets the sum of every row that ends in the segment by ends(row, sum), and that of the row that
// passes its end by passes(row, sum): it stores them, to y and to the segment's row of `carry`. What a row is in the
// end is the sum of what was stored for it.
template <class T, class X, int V, class Entries, class Sums>
__device__ __forceinline__ void walk_segment(int64_t rows, int64_t count, int64_t channels, int64_t segment,
                                             int64_t column, const int64_t* __restrict__ first_row,
                                             const int64_t* __restrict__ indptr, const int32_t* __restrict__ indices,
                                             const Entries& entries, const X* __restrict__ x, Sums& sums) {
  const int64_t begin = segment * kSegment, items = rows + count;
  const int64_t end = begin + kSegment < items ? begin + kSegment : items;
  const int64_t past_row = first_row[segment + 1];
  int64_t row = first_row[segment];
  int64_t p = begin - row;
  const int64_t past = end - past_row;
  // Past the last row that ends here no entry may match, so the mark lies below every position.
  int64_t row_end = row < past_row ? indptr[row + 1] : -1;
  T own = row < rows ? entries.own(row) : T(0);
  x += column;
  Vector<T, V> sum = {};
  const auto finish_row = [&]() {
    sums.ends(row, sum);
    sum = {};
    ++row;
    row_end = row < past_row ? indptr[row + 1] : -1;
    own = row < rows ? entries.own(row) : T(0);
  };
  for (; p + kBatch <= past; p += kBatch) {
    typename Entries::Loaded loaded[kBatch];
    Vector<X, V> vector[kBatch];
#pragma unroll
    for (int u = 0; u < kBatch; ++u) {
      const int32_t j = indices[p + u];
      loaded[u] = entries.load(p + u, j);
      vector[u] = load_vector<X, V>(x + static_cast<int64_t>(j) * channels);
    }
#pragma unroll
    for (int u = 0; u < kBatch; ++u) {
      while (p + u == row_end) finish_row();
      add_product(sum, Entries::factor(loaded[u], own), vector[u]);
    }
  }
  for (; p < past; ++p) {
    while (p == row_end) finish_row();
    const int32_t j = indices[p];
    const Vector<X, V> vector = load_vector<X, V>(x + static_cast<int64_t>(j) * channels);
    add_product(sum, Entries::factor(entries.load(p, j), own), vector);
  }
  while (row < past_row) finish_row();
  if (row < rows && indptr[row] + row < end) sums.passes(row, sum);
}

// Completes the rows that lie in 2 to kShortJoin + 1 segments; a group for the segment in which such a row ends.
template <class T, int V>
__global__ void __launch_bounds__(kMostThreads)
    join_short(int64_t segments, int64_t channels, int lanes, const int64_t* __restrict__ first_row,
               const int64_t* __restrict__ indptr, const T* __restrict__ carry, T* __restrict__ y) {
  const Place place = find_place(lanes);
  const int64_t segment = place.group;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * lanes + place.lane) * V;
  if (segment >= segments || column >= channels) return;
  const int64_t row = first_row[segment];
  if (first_row[segment + 1] == row) return;  // the row continues
  const int64_t first = (indptr[row] + row) / kSegment;
  if (first >= segment || segment - first > kShortJoin) return;
  Vector<T, V> sum = load_vector<T, V>(carry + first * channels + column);
  for (int64_t g = first + 1; g < segment; ++g) {
    add_product(sum, T(1), load_vector<T, V>(carry + g * channels + column));
  }
  T* to = y + row * channels + column;
  add_product(sum, T(1), load_vector<T, V>(to));
  store_vector<T, V>(to, sum);
}

// Completes the rows that lie in more segments; a block for the first multiple of kShortJoin that such a row passes.
// Each group of the block adds every groups-th segment, then the first group adds the groups' sums in their order.
template <class T, int V>
__global__ void __launch_bounds__(kMostThreads)
    join_long(int64_t segments, int64_t channels, int lanes, const int64_t* __restrict__ first_row,
              const int64_t* __restrict__ indptr, const T* __restrict__ carry, T* __restrict__ y) {
  using Sum = Vector<T, V>;
  SG_SHARED(Sum, part, kMostThreads);
  const int64_t passed = (static_cast<int64_t>(blockIdx.x) + 1) * kShortJoin;
  if (passed >= segments) return;
  const int64_t row = first_row[passed];
  const int64_t first = (indptr[row] + row) / kSegment, last = (indptr[row + 1] + row) / kSegment;
  if (first >= passed || first / kShortJoin != blockIdx.x || last - first <= kShortJoin) return;
  const int group = threadIdx.x / lanes, groups = blockDim.x / lanes;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * lanes + (threadIdx.x - group * lanes)) * V;
  const bool works = group < groups && column < channels;
  Sum sum = {};
  if (works) {
    for (int64_t g = first + group; g < last; g += groups) {
      add_product(sum, T(1), load_vector<T, V>(carry + g * channels + column));
    }
  }
  part[threadIdx.x] = sum;
  __syncthreads();
  if (!works || group != 0) return;
  for (int g = 1; g < groups; ++g) add_product(sum, T(1), part[g * lanes + threadIdx.x]);
  T* to = y + row * channels + column;
  add_product(sum, T(1), load_vector<T, V>(to));
  store_vector<T, V>(to, sum);
}

inline void launch_plan(const char* op, int64_t rows, int64_t entries, const int64_t* indptr, int64_t* first_row,
                        cudaStream_t stream) {
  const int64_t segments = segment_count(rows, entries);
  SG_LAUNCH(segment_plan, make_grid(op, ceil_div(segments + 1, kMostThreads)), dim3(kMostThreads), 0, stream, rows,
            entries, segments, indptr, first_row);
}

template <class T, int V>
void launch_joins(const char* op, int64_t segments, int64_t channels, const int64_t* first_row, const int64_t* indptr,
                  const T* carry, T* y, cudaStream_t stream) {
  const LaneShape shape = lane_shape(channels, V);
  const dim3 threads(kMostThreads);
  if (segments < 2) return;
  SG_LAUNCH((join_short<T, V>), shape.grid(op, segments), threads, 0, stream, segments, channels, shape.lanes,
            first_row, indptr, carry, y);
  if (segments <= kShortJoin) return;
  SG_LAUNCH((join_long<T, V>), make_grid(op, ceil_div(segments, kShortJoin), shape.tiles), threads, 0, stream, segments,
            channels, shape.lanes, first_row, indptr, carry, y);
}

}  // namespace sg::cuda
