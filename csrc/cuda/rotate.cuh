// X U of a tall float32 X and a small float64 U, accumulated in float64 and rounded once.
//
// A block computes 64 rows of at most 64 columns with 4 x 4 sums in each thread, and stages X and U in shared memory,
// kRotateStage channels at a time. Every sum is one chain over the channels in ascending order.

#pragma once

#include "cuda/launch.h"

namespace sg::cuda {

constexpr int kRotateRows = 64;
constexpr int kRotateTile = 64;   // columns of U
constexpr int kRotateStage = 16;  // channels in shared memory
constexpr int kRotateSums = 4;    // of a thread, each way
constexpr int kRotatePitch = kRotateRows + 1;  // of a staged channel: its transposed stores meet different banks

struct RotateShape {
  int64_t rows, channels, width;
  int tile, threads;
};

inline RotateShape rotate_shape(int64_t rows, int64_t channels, int64_t width) {
  const int tile = tile_width(width, kRotateTile, kRotateSums);
  return {rows, channels, width, tile, round_up_to_warps(kRotateRows / kRotateSums * (tile / kRotateSums))};
}

static __global__ void __launch_bounds__(kMostThreads)
    rotate_rows(int64_t rows, int64_t channels, int64_t width, int tile, const float* __restrict__ x,
                const double* __restrict__ u, float* __restrict__ result) {
  SG_SHARED(double, a, kRotateStage * kRotatePitch);
  SG_SHARED(double, b, kRotateStage * kRotateTile);
  constexpr int kDown = kRotateRows / kRotateSums;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kRotateRows;
  const int64_t first_column = static_cast<int64_t>(blockIdx.y) * tile;
  const int across = tile / kRotateSums;
  const int ti = threadIdx.x / across, tj = threadIdx.x - ti * across;
  const bool works = ti < kDown;
  double sum[kRotateSums][kRotateSums] = {};
  for (int64_t first = 0; first < channels; first += kRotateStage) {
    for (int i = threadIdx.x; i < kRotateRows * kRotateStage; i += blockDim.x) {
      const int r = i / kRotateStage, c = i - r * kRotateStage;
      const bool inside = first_row + r < rows && first + c < channels;
      a[c * kRotatePitch + r] = inside ? static_cast<double>(x[(first_row + r) * channels + first + c]) : 0.0;
    }
    for (int i = threadIdx.x; i < kRotateStage * tile; i += blockDim.x) {
      const int c = i / tile, k = i - c * tile;
      const bool inside = first + c < channels && first_column + k < width;
      b[c * kRotateTile + k] = inside ? u[(first + c) * width + first_column + k] : 0.0;
    }
    __syncthreads();
    if (works) {
      // The zeros past the last channel need no multiplication.
      const int count = channels - first < kRotateStage ? static_cast<int>(channels - first) : kRotateStage;
      for (int c = 0; c < count; ++c) {
        double p[kRotateSums], q[kRotateSums];
#pragma unroll
        for (int k = 0; k < kRotateSums; ++k) p[k] = a[c * kRotatePitch + ti + k * kDown];
#pragma unroll
        for (int k = 0; k < kRotateSums; ++k) q[k] = b[c * kRotateTile + tj + k * across];
#pragma unroll
        for (int i = 0; i < kRotateSums; ++i) {
#pragma unroll
          for (int j = 0; j < kRotateSums; ++j) sum[i][j] += p[i] * q[j];
        }
      }
    }
    __syncthreads();
  }
  if (!works) return;
#pragma unroll
  for (int i = 0; i < kRotateSums; ++i) {
#pragma unroll
    for (int j = 0; j < kRotateSums; ++j) {
      const int64_t r = first_row + ti + i * kDown, k = first_column + tj + j * across;
      if (r < rows && k < width) result[r * width + k] = static_cast<float>(sum[i][j]);
    }
  }
}

inline void launch_rotate(const RotateShape& shape, const float* x, const double* u, float* result,
                          cudaStream_t stream) {
  if (shape.rows == 0 || shape.width == 0) return;
  SG_LAUNCH(rotate_rows, make_grid("rotate", ceil_div(shape.rows, kRotateRows), ceil_div(shape.width, shape.tile)),
            dim3(shape.threads), 0, stream, shape.rows, shape.channels, shape.width, shape.tile, x, u, result);
}

}  // namespace sg::cuda
