// y = A x for a sparse A in compressed rows and a dense x of few columns.
//
// Merge path (Merrill and Garland 2016): the entries of each row followed by one mark for the row's end form a list of
// entries + rows items, which is cut into segments of kSegment items. A segment is the work of one group of threads,
// so rows without entries and rows with a million cost what they hold. A row that passes the end of a segment leaves
// its sum in `carry`; a second pass adds these sums in the order of the segments. There are no atomic additions and
// the cuts depend on the matrix alone: the result is the same, bit by bit, on every device and in every run.
//
// A group has one thread for V neighbouring columns (4, 2 or 1 as the alignment of the rows allows), and groups follow
// each other without gaps, across warps: 50 columns are 25 threads, ten groups fill 250 threads of a block of 256. The
// threads of a group read the same index and value, which is one transaction, so no shuffles tie a group to a warp.

#pragma once

#include <cstdint>

#include "cuda/launch.h"

namespace sg::cuda {

constexpr int kSegment = 128;    // items
constexpr int kBatch = 4;        // rows of x that a thread has on the way at a time
constexpr int kShortJoin = 32;   // segments that one group joins by itself

struct SpmmShape {
  int64_t rows, entries, channels, segments;
  int64_t vectors;  // of V columns
  int lanes;        // threads of a group
  int threads;      // of a block
  int64_t tiles;    // of `lanes` vectors

  int groups() const { return threads / lanes; }
};

// V: the columns of a thread. Blocks of 128 to 256 threads are tried for the fewest idle ones.
inline SpmmShape spmm_shape(int64_t rows, int64_t entries, int64_t channels, int vector) {
  SpmmShape shape{rows, entries, channels, ceil_div(rows + entries, kSegment), channels / vector, 1, kMostThreads, 1};
  shape.tiles = std::max<int64_t>(1, ceil_div(shape.vectors, kMostThreads));
  shape.lanes = static_cast<int>(std::max<int64_t>(1, ceil_div(shape.vectors, shape.tiles)));
  double best = 0;
  for (int threads = kMostThreads; threads >= 128; threads -= kWarp) {
    const double used = static_cast<double>(threads / shape.lanes * shape.lanes) / threads;
    if (used > best) {
      best = used;
      shape.threads = threads;
    }
  }
  return shape;
}

// The most columns a thread can move at once: rows of x and y must begin at multiples of the vector's size.
template <class T>
int spmm_vector(int64_t channels, const T* x, const T* y) {
  for (int vector = 16 / static_cast<int>(sizeof(T)); vector > 1; vector /= 2) {
    const uintptr_t bytes = vector * sizeof(T);
    if (channels % vector == 0 && reinterpret_cast<uintptr_t>(x) % bytes == 0 &&
        reinterpret_cast<uintptr_t>(y) % bytes == 0) {
      return vector;
    }
  }
  return 1;
}

// first_row[g] is the row to which the first item of segment g belongs; first_row[segments] = rows.
__global__ void __launch_bounds__(kMostThreads) spmm_plan(int64_t rows, int64_t entries, int64_t segments,
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

template <class T, int V>
__device__ __forceinline__ Vector<T, V> load_vector(const T* from) {
  return *reinterpret_cast<const Vector<T, V>*>(from);
}

template <class T, int V>
__device__ __forceinline__ void store_vector(T* to, const Vector<T, V>& vector) {
  *reinterpret_cast<Vector<T, V>*>(to) = vector;
}

template <class T, int V>
__device__ __forceinline__ void add_product(Vector<T, V>& sum, T factor, const Vector<T, V>& vector) {
#pragma unroll
  for (int k = 0; k < V; ++k) sum.at[k] += factor * vector.at[k];
}

// The sums of the rows that end in each segment, and of the row that passes its end.
template <class T, int V>
__global__ void __launch_bounds__(kMostThreads)
    spmm_segments(int64_t rows, int64_t entries, int64_t segments, int64_t channels, int lanes,
                  const int64_t* __restrict__ first_row, const int64_t* __restrict__ indptr,
                  const int32_t* __restrict__ indices, const T* __restrict__ values, const T* __restrict__ x,
                  T* __restrict__ y, T* __restrict__ carry) {
  const int group = threadIdx.x / lanes, groups = blockDim.x / lanes;
  const int64_t segment = static_cast<int64_t>(blockIdx.x) * groups + group;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * lanes + (threadIdx.x - group * lanes)) * V;
  if (group >= groups || segment >= segments || column >= channels) return;
  const int64_t begin = segment * kSegment, items = rows + entries;
  const int64_t end = begin + kSegment < items ? begin + kSegment : items;
  const int64_t past_row = first_row[segment + 1];
  int64_t row = first_row[segment];
  int64_t p = begin - row;
  const int64_t past = end - past_row;
  // Past the last row that ends here no entry may match, so the mark lies below every position.
  int64_t row_end = row < past_row ? indptr[row + 1] : -1;
  x += column;
  y += column;
  Vector<T, V> sum = {};
  const auto finish_row = [&]() {
    store_vector<T, V>(y + row * channels, sum);
    sum = {};
    ++row;
    row_end = row < past_row ? indptr[row + 1] : -1;
  };
  for (; p + kBatch <= past; p += kBatch) {
    T factor[kBatch];
    Vector<T, V> vector[kBatch];
#pragma unroll
    for (int u = 0; u < kBatch; ++u) {
      factor[u] = values[p + u];
      vector[u] = load_vector<T, V>(x + static_cast<int64_t>(indices[p + u]) * channels);
    }
#pragma unroll
    for (int u = 0; u < kBatch; ++u) {
      while (p + u == row_end) finish_row();
      add_product(sum, factor[u], vector[u]);
    }
  }
  for (; p < past; ++p) {
    while (p == row_end) finish_row();
    add_product(sum, values[p], load_vector<T, V>(x + static_cast<int64_t>(indices[p]) * channels));
  }
  while (row < past_row) finish_row();
  if (row < rows && indptr[row] + row < end) store_vector<T, V>(carry + segment * channels + column, sum);
}

// Completes the rows that lie in 2 to kShortJoin + 1 segments; a group for the segment in which such a row ends.
template <class T, int V>
__global__ void __launch_bounds__(kMostThreads)
    spmm_join_short(int64_t segments, int64_t channels, int lanes, const int64_t* __restrict__ first_row,
                    const int64_t* __restrict__ indptr, const T* __restrict__ carry, T* __restrict__ y) {
  const int group = threadIdx.x / lanes, groups = blockDim.x / lanes;
  const int64_t segment = static_cast<int64_t>(blockIdx.x) * groups + group;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * lanes + (threadIdx.x - group * lanes)) * V;
  if (group >= groups || segment >= segments || column >= channels) return;
  const int64_t row = first_row[segment];
  if (first_row[segment + 1] == row) return;  // it goes on
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
// Each group adds every groups-th segment, then the first group adds the groups' sums in their order.
template <class T, int V>
__global__ void __launch_bounds__(kMostThreads)
    spmm_join_long(int64_t segments, int64_t channels, int lanes, const int64_t* __restrict__ first_row,
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

inline int64_t spmm_segment_count(int64_t rows, int64_t entries) { return ceil_div(rows + entries, kSegment); }

template <class T, int V>
void launch_spmm_vector(const SpmmShape& shape, const int64_t* indptr, const int32_t* indices, const T* values,
                        const T* x, T* y, int64_t* first_row, T* carry, cudaStream_t stream) {
  constexpr const char* kOp = "csr_spmm";
  const dim3 threads(shape.threads);
  const dim3 grid = make_grid(kOp, ceil_div(shape.segments, shape.groups()), shape.tiles);
  SG_LAUNCH(spmm_plan, make_grid(kOp, ceil_div(shape.segments + 1, kMostThreads)), dim3(kMostThreads), 0, stream,
            shape.rows, shape.entries, shape.segments, indptr, first_row);
  SG_LAUNCH((spmm_segments<T, V>), grid, threads, 0, stream, shape.rows, shape.entries, shape.segments,
            shape.channels, shape.lanes, first_row, indptr, indices, values, x, y, carry);
  if (shape.segments < 2) return;
  SG_LAUNCH((spmm_join_short<T, V>), grid, threads, 0, stream, shape.segments, shape.channels, shape.lanes, first_row,
            indptr, carry, y);
  if (shape.segments <= kShortJoin) return;
  SG_LAUNCH((spmm_join_long<T, V>), make_grid(kOp, ceil_div(shape.segments, kShortJoin), shape.tiles), threads, 0,
            stream, shape.segments, shape.channels, shape.lanes, first_row, indptr, carry, y);
}

// first_row: segments + 1 elements, carry: segments x channels, both scratch.
template <class T>
void launch_spmm(int64_t rows, int64_t entries, int64_t channels, const int64_t* indptr, const int32_t* indices,
                 const T* values, const T* x, T* y, int64_t* first_row, T* carry, cudaStream_t stream) {
  if (rows == 0 || channels == 0) return;
  const int vector = spmm_vector(channels, x, y);
  const SpmmShape shape = spmm_shape(rows, entries, channels, vector);
  if constexpr (sizeof(T) == 4) {
    if (vector == 4) {
      launch_spmm_vector<T, 4>(shape, indptr, indices, values, x, y, first_row, carry, stream);
      return;
    }
  }
  if (vector == 2) launch_spmm_vector<T, 2>(shape, indptr, indices, values, x, y, first_row, carry, stream);
  else launch_spmm_vector<T, 1>(shape, indptr, indices, values, x, y, first_row, carry, stream);
}

}  // namespace sg::cuda
