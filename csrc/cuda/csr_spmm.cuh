// y = A x for a sparse A in CSR and a dense x of few columns.
//
// A thread computes V adjacent columns: 4, 2 or 1 as the alignment of the rows allows. If x is bfloat16, the values,
// the sums and y are float32.

#pragma once

#include "cuda/segments.cuh"

namespace sg::cuda {

// The entries as they are stored.
template <class T>
struct StoredEntries {
  using Loaded = T;
  const T* values;

  __device__ __forceinline__ T own(int64_t) const { return T(0); }
  __device__ __forceinline__ T load(int64_t p, int32_t) const { return values[p]; }
  static __device__ __forceinline__ T factor(T loaded, T) { return loaded; }
};

// The sums as they are.
template <class T, int V>
struct PlainSums {
  T* y;      // from the thread's first column on
  T* carry;  // the segment's row, from there on
  int64_t channels;

  __device__ __forceinline__ void ends(int64_t row, const Vector<T, V>& sum) {
    store_vector<T, V>(y + row * channels, sum);
  }
  __device__ __forceinline__ void passes(int64_t, const Vector<T, V>& sum) { store_vector<T, V>(carry, sum); }
};

template <class T, class X, int V>
__global__ void __launch_bounds__(kMostThreads)
    spmm_segments(int64_t rows, int64_t entries, int64_t segments, int64_t channels, int lanes,
                  const int64_t* __restrict__ first_row, const int64_t* __restrict__ indptr,
                  const int32_t* __restrict__ indices, const T* __restrict__ values, const X* __restrict__ x,
                  T* __restrict__ y, T* __restrict__ carry) {
  const Place place = find_place(lanes);
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * lanes + place.lane) * V;
  if (place.group >= segments || column >= channels) return;
  PlainSums<T, V> sums{y + column, carry + place.group * channels + column, channels};
  walk_segment<T, X, V>(rows, entries, channels, place.group, column, first_row, indptr, indices,
                        StoredEntries<T>{values}, x, sums);
}

// The most columns that a thread can load with one instruction.
template <class T, class X>
int spmm_vector(int64_t channels, const X* x, const T* y) {
  for (int vector = 16 / static_cast<int>(sizeof(T)); vector > 1; vector /= 2) {
    if (rows_aligned(x, channels, vector) && rows_aligned(y, channels, vector)) return vector;
  }
  return 1;
}

template <class T, class X, int V>
void launch_spmm_vector(int64_t rows, int64_t entries, int64_t channels, const int64_t* indptr, const int32_t* indices,
                        const T* values, const X* x, T* y, int64_t* first_row, T* carry, cudaStream_t stream) {
  constexpr const char* kOp = "csr_spmm";
  const LaneShape shape = lane_shape(channels, V);
  const int64_t segments = segment_count(rows, entries);
  launch_plan(kOp, rows, entries, indptr, first_row, stream);
  SG_LAUNCH((spmm_segments<T, X, V>), shape.grid(kOp, segments), dim3(kMostThreads), 0, stream, rows, entries, segments,
            channels, shape.lanes, first_row, indptr, indices, values, x, y, carry);
  launch_joins<T, V>(kOp, segments, channels, first_row, indptr, carry, y, stream);
}

// first_row: segments + 1 elements, carry: segments x channels, both scratch.
template <class T, class X>
void launch_spmm(int64_t rows, int64_t entries, int64_t channels, const int64_t* indptr, const int32_t* indices,
                 const T* values, const X* x, T* y, int64_t* first_row, T* carry, cudaStream_t stream) {
  if (rows == 0 || channels == 0) return;
  const int vector = spmm_vector(channels, x, y);
  const auto launch = [&](auto launch_vector) {
    launch_vector(rows, entries, channels, indptr, indices, values, x, y, first_row, carry, stream);
  };
  if constexpr (sizeof(T) == 4) {
    if (vector == 4) return launch(launch_spmm_vector<T, X, 4>);
  }
  if (vector == 2) launch(launch_spmm_vector<T, X, 2>);
  else launch(launch_spmm_vector<T, X, 1>);
}

}  // namespace sg::cuda
