// a_i . b_j at every stored entry (i, j) of a sparse matrix.
//
// kDotLanes threads share a dot product, each with every kDotLanes-th vector of V columns, and add their sums up by
// shuffles. They take kDotRun neighbouring entries in turn, so the row of an entry is searched once a run.

#pragma once

#include "cuda/csr_entries.cuh"
#include "cuda/lanes.cuh"

namespace sg::cuda {

constexpr int kDotLanes = 8;
constexpr int kDotRun = 16;  // entries

template <class T, int V>
__global__ void __launch_bounds__(kMostThreads)
    sddmm_runs(int64_t rows, int64_t entries, int64_t channels, const int64_t* __restrict__ indptr,
               const int32_t* __restrict__ indices, const T* __restrict__ a, const T* __restrict__ b,
               T* __restrict__ values) {
  const int64_t run = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kDotLanes;
  const int lane = threadIdx.x % kDotLanes;
  const int64_t begin = run * kDotRun;
  int64_t row = begin < entries ? row_of_entry(indptr, rows, begin) : 0;
  for (int step = 0; step < kDotRun; ++step) {  // all lanes of a warp take part in the shuffles
    const int64_t p = begin + step;
    const bool works = p < entries;
    T sum = 0;
    if (works) {
      while (p >= indptr[row + 1]) ++row;
      const T* left = a + row * channels;
      const T* right = b + static_cast<int64_t>(indices[p]) * channels;
#pragma unroll 2
      for (int64_t c = lane * V; c < channels; c += kDotLanes * V) {
        const Vector<T, V> x = load_vector<T, V>(left + c), y = load_vector<T, V>(right + c);
#pragma unroll
        for (int k = 0; k < V; ++k) sum += x.at[k] * y.at[k];
      }
    }
#pragma unroll
    for (int by = kDotLanes / 2; by > 0; by /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, by);
    if (works && lane == 0) values[p] = sum;
  }
}

template <class T>
void launch_sddmm(int64_t rows, int64_t entries, int64_t channels, const int64_t* indptr, const int32_t* indices,
                  const T* a, const T* b, T* values, cudaStream_t stream) {
  if (entries == 0) return;
  const dim3 grid = thread_grid("csr_sddmm", ceil_div(entries, kDotRun) * kDotLanes);
  const auto launch = [&](auto kernel) {
    SG_LAUNCH(kernel, grid, dim3(kMostThreads), 0, stream, rows, entries, channels, indptr, indices, a, b, values);
  };
  const auto fits = [&](int vector) { return rows_aligned(a, channels, vector) && rows_aligned(b, channels, vector); };
  if constexpr (sizeof(T) == 4) {
    if (fits(4)) return launch(sddmm_runs<T, 4>);
  }
  if (fits(2)) launch(sddmm_runs<T, 2>);
  else launch(sddmm_runs<T, 1>);
}

}  // namespace sg::cuda
