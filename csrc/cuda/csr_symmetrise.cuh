// A = (B + B^T) / 2 and its row sums, from B and B^T with sorted rows.
//
// One thread for each entry computes the union of the two patterns: it searches the entry's column in the row of the
// other matrix. Where both matrices store (i, j), B's entry is kept; of duplicates, the first. Prefix sums of the kept
// entries give every entry its position in A: the number of kept entries before it in its matrix, plus those of the
// other matrix with a lower column. So the row of a hub occupies as many threads as it has entries. The result does not
// depend on the order of the threads, and A[i, j] and A[j, i] have the same bits, since both add the same two sums.

#pragma once

#include "cuda/csr_entries.cuh"

namespace sg::cuda {

// One of B and B^T. Duplicates keep the order of B.
struct SortedSide {
  const int64_t* indptr;
  const int32_t* indices;
  const float* values;
  const int32_t* row_of;     // the row of each entry
  const int64_t* kept_before;  // entries + 1: the kept entries before each
};

__device__ __forceinline__ bool first_of_place(const SortedSide& side, int64_t row, int64_t p) {
  return p == side.indptr[row] || side.indices[p - 1] != side.indices[p];
}

// kept[p] is 1 for the first entry of a place, unless the `other` matrix has the place and keeps it.
static __global__ void __launch_bounds__(kMostThreads)
    union_keep(int64_t entries, SortedSide own, SortedSide other, bool yields, int32_t* __restrict__ kept) {
  const int64_t p = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (p >= entries) return;
  const int64_t row = own.row_of[p];
  bool keep = first_of_place(own, row, p);
  if (keep && yields) {
    const int64_t past = other.indptr[row + 1];
    const int64_t at = lower_bound(other.indices, other.indptr[row], past, own.indices[p]);
    keep = at == past || other.indices[at] != own.indices[p];
  }
  kept[p] = keep;
}

// The sum of the entries of one place, from p on, in float64 and in their order.
__device__ __forceinline__ double place_sum(const SortedSide& side, int64_t p, int64_t past, int32_t column) {
  double sum = 0;
  for (; p < past && side.indices[p] == column; ++p) sum += side.values[p];
  return sum;
}

static __global__ void __launch_bounds__(kMostThreads)
    union_write(int64_t entries, SortedSide own, SortedSide other, int32_t* __restrict__ out_indices,
                float* __restrict__ out_values) {
  const int64_t p = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (p >= entries || own.kept_before[p + 1] == own.kept_before[p]) return;
  const int64_t row = own.row_of[p];
  const int32_t column = own.indices[p];
  const int64_t past = other.indptr[row + 1];
  const int64_t across = lower_bound(other.indices, other.indptr[row], past, column);
  const double sum = place_sum(own, p, own.indptr[row + 1], column) + place_sum(other, across, past, column);
  const int64_t to = own.kept_before[p] + other.kept_before[across];
  out_indices[to] = column;
  out_values[to] = static_cast<float>(0.5 * sum);
}

static __global__ void __launch_bounds__(kMostThreads)
    union_starts(int64_t n, SortedSide own, SortedSide other, int64_t* __restrict__ out_indptr) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row <= n) out_indptr[row] = own.kept_before[own.indptr[row]] + other.kept_before[other.indptr[row]];
}

// The sum of each row in float64; a warp a row.
static __global__ void __launch_bounds__(kMostThreads)
    row_sums(int64_t rows, const int64_t* __restrict__ indptr, const float* __restrict__ values,
             float* __restrict__ sums) {
  const int lane = threadIdx.x & (kWarp - 1);
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (blockDim.x / kWarp) + threadIdx.x / kWarp;
  if (row >= rows) return;  // a whole warp
  const int64_t past = indptr[row + 1];
  double sum = 0;
#pragma unroll 4
  for (int64_t p = indptr[row] + lane; p < past; p += kWarp) sum += values[p];
  for (int step = kWarp / 2; step > 0; step /= 2) sum += __shfl_down_sync(kWholeWarp, sum, step);
  if (lane == 0) sums[row] = static_cast<float>(sum);
}

constexpr const char* kSymmetriseOp = "csr_symmetrise";

// kept: entries elements.
inline void launch_union_keep(int64_t entries, const SortedSide& own, const SortedSide& other, bool yields,
                              int32_t* kept, cudaStream_t stream) {
  if (entries == 0) return;
  SG_LAUNCH(union_keep, thread_grid(kSymmetriseOp, entries), dim3(kMostThreads), 0, stream, entries, own, other, yields,
            kept);
}

inline void launch_union_starts(int64_t n, const SortedSide& own, const SortedSide& other, int64_t* out_indptr,
                                cudaStream_t stream) {
  SG_LAUNCH(union_starts, thread_grid(kSymmetriseOp, n + 1), dim3(kMostThreads), 0, stream, n, own, other, out_indptr);
}

// Both sides, and the row sums of what they make.
inline void launch_union_write(int64_t n, int64_t entries, const SortedSide& own, const SortedSide& other,
                               const int64_t* out_indptr, int32_t* out_indices, float* out_values, float* degree,
                               cudaStream_t stream) {
  if (entries > 0) {
    const dim3 grid = thread_grid(kSymmetriseOp, entries);
    SG_LAUNCH(union_write, grid, dim3(kMostThreads), 0, stream, entries, own, other, out_indices, out_values);
    SG_LAUNCH(union_write, grid, dim3(kMostThreads), 0, stream, entries, other, own, out_indices, out_values);
  }
  if (n > 0) {
    SG_LAUNCH(row_sums, make_grid(kSymmetriseOp, ceil_div(n, kMostThreads / kWarp)), dim3(kMostThreads), 0, stream, n,
              out_indptr, out_values, degree);
  }
}

}  // namespace sg::cuda
