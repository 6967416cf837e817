// unit_project: rows centred and scaled to unit norm. cuBLAS computes their projection (unit_project.cu): this kernel
// is memory-bound and needs whole rows, where a fused product would need tiles of rows.
//
// One warp handles one row in two passes: the second pass reads the row from the cache and rounds as the first one, so
// the scaled elements are those whose norm was computed. The squares are accumulated in float64, in an order that
// depends on the depth alone.

#pragma once

#include <limits>

#include "cuda/lanes.cuh"
#include "cuda/widen.cuh"

namespace sg::cuda {

constexpr double kMostSquares = std::numeric_limits<double>::max();
constexpr double kLeastNorm = std::numeric_limits<float>::min();

// Returns NaN for a row with NaN or infinity, 0 for one whose norm is below the smallest normal float32.
__device__ __forceinline__ float inverse_norm(double squares) {
  if (!(squares <= kMostSquares)) return __int_as_float(0x7fc00000);
  const double norm = sqrt(squares);
  return norm < kLeastNorm ? 0.0f : static_cast<float>(1.0 / norm);
}

template <class X, int V>
__device__ __forceinline__ Vector<float, V> load_centred(const X* row, const float* mean, int64_t column) {
  const Vector<X, V> stored = load_vector<X, V>(row + column);
  Vector<float, V> centred = load_vector<float, V>(mean + column);
#pragma unroll
  for (int k = 0; k < V; ++k) centred.at[k] = widen(stored.at[k]) - centred.at[k];
  return centred;
}

template <class X, int V>
__global__ void __launch_bounds__(kMostThreads)
    unit_rows(int64_t rows, int64_t depth, const X* __restrict__ from, const float* __restrict__ mean,
              float* __restrict__ unit, float* __restrict__ inverse) {
  const int lane = threadIdx.x & (kWarp - 1);
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kMostThreads / kWarp) + threadIdx.x / kWarp;
  if (row >= rows) return;  // a whole warp
  from += row * depth;
  double squares = 0;
  for (int64_t c = lane * V; c < depth; c += kWarp * V) {
    const Vector<float, V> centred = load_centred<X, V>(from, mean, c);
#pragma unroll
    for (int k = 0; k < V; ++k) squares += static_cast<double>(centred.at[k]) * static_cast<double>(centred.at[k]);
  }
#pragma unroll
  for (int by = kWarp / 2; by > 0; by /= 2) squares += __shfl_xor_sync(kWholeWarp, squares, by);
  const float scale = inverse_norm(squares);
  if (lane == 0) inverse[row] = scale;
  for (int64_t c = lane * V; c < depth; c += kWarp * V) {
    Vector<float, V> scaled = load_centred<X, V>(from, mean, c);
#pragma unroll
    for (int k = 0; k < V; ++k) scaled.at[k] *= scale;
    store_vector<float, V>(unit + row * depth + c, scaled);
  }
}

template <class X>
void launch_unit_rows(int64_t rows, int64_t depth, const X* from, const float* mean, float* unit, float* inverse,
                      cudaStream_t stream) {
  if (rows == 0) return;
  const bool aligned = rows_aligned(from, depth, 4) && rows_aligned(mean, depth, 4) && rows_aligned(unit, depth, 4);
  const dim3 grid = make_grid("unit_project", ceil_div(rows, kMostThreads / kWarp));
  const auto kernel = aligned ? unit_rows<X, 4> : unit_rows<X, 1>;
  SG_LAUNCH(kernel, grid, dim3(kMostThreads), 0, stream, rows, depth, from, mean, unit, inverse);
}

}  // namespace sg::cuda
