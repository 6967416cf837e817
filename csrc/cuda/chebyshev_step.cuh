// chebyshev_step_: y = gain A x + shift own + keep y in one pass over y, by the segments of csr_spmm.
//
// The rest of a row, shift own + keep y, is added by the one segment in which the row ends, before a join touches the
// row; the pieces of the row that lie in earlier segments are scaled by gain when they are stored, so the joins are
// those of csr_spmm. Every element of own and of y is read and written by one thread only, its own: own may be y.

#pragma once

#include "cuda/csr_spmm.cuh"

namespace sg::cuda {

struct StepFactors {
  float gain, shift, keep;
};

// With keep 0 y is not read, so it may be uninitialised.
template <int V>
struct StepSums {
  StepFactors by;
  const float* own;  // from the thread's first column on
  float* y;          // from there on
  float* carry;      // the segment's row, from there on
  int64_t channels;

  __device__ __forceinline__ void ends(int64_t row, const Vector<float, V>& sum) {
    float* to = y + row * channels;
    const Vector<float, V> mine = load_vector<float, V>(own + row * channels);
    Vector<float, V> result = {};
    if (by.keep != 0.0f) result = load_vector<float, V>(to);
#pragma unroll
    for (int k = 0; k < V; ++k) result.at[k] = by.gain * sum.at[k] + (by.shift * mine.at[k] + by.keep * result.at[k]);
    store_vector<float, V>(to, result);
  }
  __device__ __forceinline__ void passes(int64_t, const Vector<float, V>& sum) {
    Vector<float, V> piece;
#pragma unroll
    for (int k = 0; k < V; ++k) piece.at[k] = by.gain * sum.at[k];
    store_vector<float, V>(carry, piece);
  }
};

// own and y without __restrict__: they may be one array.
template <int V>
__global__ void __launch_bounds__(kMostThreads)
    step_segments(int64_t rows, int64_t entries, int64_t segments, int64_t channels, int lanes,
                  const int64_t* __restrict__ first_row, const int64_t* __restrict__ indptr,
                  const int32_t* __restrict__ indices, const float* __restrict__ values, const float* __restrict__ x,
                  const float* own, float* y, float* __restrict__ carry, StepFactors by) {
  const Place place = find_place(lanes);
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * lanes + place.lane) * V;
  if (place.group >= segments || column >= channels) return;
  StepSums<V> sums{by, own + column, y + column, carry + place.group * channels + column, channels};
  walk_segment<float, float, V>(rows, entries, channels, place.group, column, first_row, indptr, indices,
                                StoredEntries<float>{values}, x, sums);
}

template <int V>
void launch_step_vector(int64_t rows, int64_t entries, int64_t channels, const int64_t* indptr, const int32_t* indices,
                        const float* values, const float* x, const float* own, float* y, const StepFactors& by,
                        int64_t* first_row, float* carry, cudaStream_t stream) {
  constexpr const char* kOp = "chebyshev_step_";
  const LaneShape shape = lane_shape(channels, V);
  const int64_t segments = segment_count(rows, entries);
  launch_plan(kOp, rows, entries, indptr, first_row, stream);
  SG_LAUNCH((step_segments<V>), shape.grid(kOp, segments), dim3(kMostThreads), 0, stream, rows, entries, segments,
            channels, shape.lanes, first_row, indptr, indices, values, x, own, y, carry, by);
  launch_joins<float, V>(kOp, segments, channels, first_row, indptr, carry, y, stream);
}

// first_row: segments + 1 elements, carry: segments x channels, both scratch.
inline void launch_step(int64_t rows, int64_t entries, int64_t channels, const int64_t* indptr, const int32_t* indices,
                        const float* values, const float* x, const float* own, float* y, const StepFactors& by,
                        int64_t* first_row, float* carry, cudaStream_t stream) {
  if (rows == 0 || channels == 0) return;
  int vector = spmm_vector(channels, x, y);
  while (!rows_aligned(own, channels, vector)) vector /= 2;
  const auto launch = vector == 4   ? launch_step_vector<4>
                      : vector == 2 ? launch_step_vector<2>
                                    : launch_step_vector<1>;
  launch(rows, entries, channels, indptr, indices, values, x, own, y, by, first_row, carry, stream);
}

}  // namespace sg::cuda
