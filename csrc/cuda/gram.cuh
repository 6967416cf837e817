// X^T X or X^T Y of tall float32 matrices, in float64.
//
// The shape alone determines the chunks of rows. A block accumulates one chunk for one tile of at most 64 x 64
// channels: shared memory holds the rows, converted to float64 once, and every thread holds 4 x 4 sums. A second pass
// adds the chunks in order, so the result has the same bits in every run. The tile fits the channels (50 channels take
// 52 x 52 sums and 169 threads of 192); it is not padded to a power of two.

#pragma once

#include "cuda/launch.h"

namespace sg::cuda {

constexpr int kGramTile = 64;   // channels
constexpr int kGramStage = 16;  // rows in shared memory
constexpr int kGramSums = 4;    // of a thread, each way
constexpr int64_t kGramLeastRows = 256;  // of a chunk: 70,000 rows are 274 blocks
constexpr int64_t kGramMostChunks = 512;
constexpr int64_t kGramScratch = int64_t{64} << 20;  // bytes

struct GramShape {
  int64_t rows, left, right;  // X has rows x left, Y rows x right elements
  int64_t chunks, chunk_rows;
  int left_tile, right_tile;
  int64_t left_tiles, right_tiles;
  int threads;
};

inline GramShape gram_shape(int64_t rows, int64_t left, int64_t right) {
  GramShape shape{};
  shape.rows = rows;
  shape.left = left;
  shape.right = right;
  const int64_t bytes = std::max<int64_t>(1, left * right * static_cast<int64_t>(sizeof(double)));
  const int64_t most = std::max<int64_t>(1, std::min(kGramMostChunks, kGramScratch / bytes));
  const int64_t wanted = std::max<int64_t>(1, std::min(most, ceil_div(rows, kGramLeastRows)));
  shape.chunk_rows = std::max<int64_t>(1, ceil_div(rows, wanted));
  shape.chunks = ceil_div(rows, shape.chunk_rows);
  shape.left_tile = tile_width(left, kGramTile, kGramSums);
  shape.right_tile = tile_width(right, kGramTile, kGramSums);
  shape.left_tiles = ceil_div(left, shape.left_tile);
  shape.right_tiles = ceil_div(right, shape.right_tile);
  shape.threads = round_up_to_warps(shape.left_tile / kGramSums * (shape.right_tile / kGramSums));
  return shape;
}

__device__ __forceinline__ void stage_rows(const float* __restrict__ from, int64_t row, int64_t past_row,
                                           int64_t channels, int64_t first, int width, double* to) {
  for (int i = threadIdx.x; i < kGramStage * width; i += blockDim.x) {
    const int r = i / width, c = i - r * width;
    const bool inside = row + r < past_row && first + c < channels;
    to[r * kGramTile + c] = inside ? static_cast<double>(from[(row + r) * channels + first + c]) : 0.0;
  }
}

// partial[chunk][i][j]; where `symmetric`, the tiles below the diagonal are left out.
static __global__ void __launch_bounds__(kMostThreads)
    gram_chunks(int64_t rows, int64_t chunk_rows, int64_t left, int64_t right, int left_tile, int right_tile,
                bool symmetric, const float* __restrict__ x, const float* __restrict__ y,
                double* __restrict__ partial) {
  SG_SHARED(double, a, kGramStage * kGramTile);
  SG_SHARED(double, b, kGramStage * kGramTile);
  const int64_t right_tiles = (right + right_tile - 1) / right_tile;
  const int64_t tile_row = blockIdx.y / right_tiles, tile_column = blockIdx.y - tile_row * right_tiles;
  if (symmetric && tile_column < tile_row) return;
  const int64_t first_left = tile_row * left_tile, first_right = tile_column * right_tile;
  const int down = left_tile / kGramSums, across = right_tile / kGramSums;
  const int ti = threadIdx.x / across, tj = threadIdx.x - ti * across;
  const bool works = ti < down;
  double sum[kGramSums][kGramSums] = {};
  const int64_t begin = blockIdx.x * chunk_rows;
  const int64_t past = begin + chunk_rows < rows ? begin + chunk_rows : rows;
  for (int64_t row = begin; row < past; row += kGramStage) {
    stage_rows(x, row, past, left, first_left, left_tile, a);
    stage_rows(y, row, past, right, first_right, right_tile, b);
    __syncthreads();
    if (works) {
#pragma unroll 4
      for (int r = 0; r < kGramStage; ++r) {
        // A thread's channels lie `down` and `across` apart, so neighbouring threads read neighbouring banks.
        double p[kGramSums], q[kGramSums];
#pragma unroll
        for (int k = 0; k < kGramSums; ++k) p[k] = a[r * kGramTile + ti + k * down];
#pragma unroll
        for (int k = 0; k < kGramSums; ++k) q[k] = b[r * kGramTile + tj + k * across];
#pragma unroll
        for (int i = 0; i < kGramSums; ++i) {
#pragma unroll
          for (int j = 0; j < kGramSums; ++j) sum[i][j] += p[i] * q[j];
        }
      }
    }
    __syncthreads();
  }
  if (!works) return;
#pragma unroll
  for (int i = 0; i < kGramSums; ++i) {
#pragma unroll
    for (int j = 0; j < kGramSums; ++j) {
      const int64_t c = first_left + ti + i * down, k = first_right + tj + j * across;
      if (c < left && k < right) partial[(blockIdx.x * left + c) * right + k] = sum[i][j];
    }
  }
}

static __global__ void __launch_bounds__(kMostThreads)
    gram_sum(int64_t chunks, int64_t left, int64_t right, bool symmetric, const double* __restrict__ partial,
             double* __restrict__ result) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= left * right) return;
  const int64_t i = at / right, j = at - i * right;
  const int64_t from = symmetric && j < i ? j * right + i : at;
  double sum = 0.0;
#pragma unroll 4
  for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * left * right + from];
  result[at] = sum;
}

// partial: chunks x left x right doubles of scratch. symmetric: y is x.
inline void launch_gram(const GramShape& shape, bool symmetric, const float* x, const float* y, double* partial,
                        double* result, cudaStream_t stream) {
  constexpr const char* kOp = "gram";
  if (shape.left == 0 || shape.right == 0) return;
  if (shape.chunks > 0) {
    SG_LAUNCH(gram_chunks, make_grid(kOp, shape.chunks, shape.left_tiles * shape.right_tiles), dim3(shape.threads), 0,
              stream, shape.rows, shape.chunk_rows, shape.left, shape.right, shape.left_tile, shape.right_tile,
              symmetric, x, y, partial);
  }
  SG_LAUNCH(gram_sum, make_grid(kOp, ceil_div(shape.left * shape.right, kMostThreads)), dim3(kMostThreads), 0, stream,
            shape.chunks, shape.left, shape.right, symmetric, partial, result);
}

}  // namespace sg::cuda
