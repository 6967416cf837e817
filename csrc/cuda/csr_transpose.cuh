// The transpose of a CSR matrix, from a stable sort of its columns.
//
// The sort is torch's, which is CUB's radix sort: it is stable, so entries of one column keep their order and the
// result is the same in every run. Counting and filling by atomic additions would read less, but the order within each
// row would change from run to run, and sorting rows of any length would be needed afterwards.

#pragma once

#include "cuda/csr_entries.cuh"

namespace sg::cuda {

// The starts of the rows of the transpose: where each column begins among the sorted ones.
static __global__ void __launch_bounds__(kMostThreads)
    transpose_starts(int64_t columns, int64_t entries, const int32_t* __restrict__ sorted,
                     int64_t* __restrict__ out_indptr) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column > columns) return;
  out_indptr[column] = column == columns ? entries : lower_bound(sorted, 0, entries, static_cast<int32_t>(column));
}

template <class T>
__global__ void __launch_bounds__(kMostThreads)
    transpose_entries(int64_t entries, const int64_t* __restrict__ order, const int32_t* __restrict__ row_of,
                      const T* __restrict__ values, int32_t* __restrict__ out_indices, T* __restrict__ out_values) {
  const int64_t to = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (to >= entries) return;
  const int64_t from = order[to];
  out_indices[to] = row_of[from];
  out_values[to] = values[from];
}

inline void launch_transpose_starts(const char* op, int64_t columns, int64_t entries, const int32_t* sorted,
                                    int64_t* out_indptr, cudaStream_t stream) {
  SG_LAUNCH(transpose_starts, thread_grid(op, columns + 1), dim3(kMostThreads), 0, stream, columns, entries, sorted,
            out_indptr);
}

template <class T>
void launch_transpose_entries(const char* op, int64_t entries, const int64_t* order, const int32_t* row_of,
                              const T* values, int32_t* out_indices, T* out_values, cudaStream_t stream) {
  if (entries == 0) return;
  SG_LAUNCH(transpose_entries<T>, thread_grid(op, entries), dim3(kMostThreads), 0, stream, entries, order, row_of,
            values, out_indices, out_values);
}

}  // namespace sg::cuda
