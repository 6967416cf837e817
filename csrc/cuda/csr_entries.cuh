// Loops over the entries of a CSR matrix with one thread for each entry, so long rows need no special case.

#pragma once

#include "cuda/launch.h"

namespace sg::cuda {

// The first position in [low, high) of `sorted` whose element is not below `wanted`.
template <class T>
__device__ __forceinline__ int64_t lower_bound(const T* sorted, int64_t low, int64_t high, T wanted) {
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (sorted[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The row of entry p: the last one that begins at or before it.
__device__ __forceinline__ int64_t row_of_entry(const int64_t* indptr, int64_t rows, int64_t p) {
  return lower_bound(indptr, 0, rows + 1, p + 1) - 1;
}

// row_of[p], and whether some row is not sorted by column; `unsorted` must be 0 before.
static __global__ void __launch_bounds__(kMostThreads)
    entry_rows(int64_t rows, int64_t entries, const int64_t* __restrict__ indptr, const int32_t* __restrict__ indices,
               int32_t* __restrict__ row_of, unsigned long long* __restrict__ unsorted) {
  const int64_t p = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (p >= entries) return;
  const int64_t row = row_of_entry(indptr, rows, p);
  row_of[p] = static_cast<int32_t>(row);
  if (p > indptr[row] && indices[p - 1] > indices[p]) atomicMax(unsorted, 1ull);
}

inline dim3 thread_grid(const char* op, int64_t threads) { return make_grid(op, ceil_div(threads, kMostThreads)); }

inline void launch_entry_rows(const char* op, int64_t rows, int64_t entries, const int64_t* indptr,
                              const int32_t* indices, int32_t* row_of, unsigned long long* unsorted,
                              cudaStream_t stream) {
  if (entries == 0) return;
  SG_LAUNCH(entry_rows, thread_grid(op, entries), dim3(kMostThreads), 0, stream, rows, entries, indptr, indices, row_of,
            unsorted);
}

}  // namespace sg::cuda
