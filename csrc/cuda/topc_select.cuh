// The c best columns of every row of a block of scores.
//
// The scores come from cuBLAS (torch.mm), not from a kernel fused with the selection. The selection needs whole rows
// while the product wants square tiles, so a fused kernel would keep sorted lists where the product needs registers. It
// would save one write and one read of the scores, 8 bytes a score, where the product costs 2 d operations a score.
// By the data sheet of an A100 (19.5 TFLOP/s in float32, 1555 GB/s) that is 5 ps against 39 ps at d = 384, of an H100
// (67 TFLOP/s, 3350 GB/s) 2.4 ps against 11 ps: a fused kernel that loses an eighth or a fifth of cuBLAS's speed has
// lost its advantage. On the tensor cores with TF32 (156 TFLOP/s on an A100) both take 5 ps and a fused kernel could
// win, but TF32 keeps 10 bits of each factor, which changes the order of near neighbours; torch has it off unless the
// user allows it, and then cuBLAS uses the tensor cores here too. This is arithmetic, not a measurement.
//
// One warp handles one row. Every lane tests kTake scores; a ballot assigns those that may enter the list their places
// in a buffer in shared memory, and a full buffer is sorted into the list. After the first few columns hardly any score
// passes the test, so the loads dominate the cost, 32 adjacent scores in a request.

#pragma once

#include "cuda/topc_list.cuh"

namespace sg::cuda {

constexpr int kTake = 4;                    // scores a lane tests at a time
constexpr int kRound = kTake * kWarp;       // scores a warp tests at a time

// A block of the score matrix.
struct ScoreBlock {
  const float* scores;  // rows x columns
  int64_t rows, columns;
  int64_t first_row, first_column;  // in the whole matrix
};

// Offers the scores of the columns [begin, past) of the whole matrix.
__device__ __forceinline__ void scan_scores(WarpList& list, const ScoreBlock& block, int64_t row, int64_t begin,
                                            int64_t past, float threshold) {
  begin = begin < block.first_column ? block.first_column : begin;
  const int64_t end = block.first_column + block.columns;
  past = past < end ? past : end;
  if (begin >= past) return;
  const float* scores = block.scores + (row - block.first_row) * block.columns - block.first_column;
  // Requests begin at multiples of 128 bytes, whatever the column.
  const int64_t shift = ((row - block.first_row) * block.columns + begin - block.first_column) & (kWarp - 1);
#pragma unroll 1
  for (int64_t base = begin - shift; base < past; base += kRound) {
    float value[kTake];
#pragma unroll
    for (int k = 0; k < kTake; ++k) {
      const int64_t column = base + k * kWarp + list.lane;
      value[k] = column >= begin && column < past ? scores[column] : 0.0f;
    }
    const uint64_t least = list.least();
#pragma unroll
    for (int k = 0; k < kTake; ++k) {
      const int64_t column = base + k * kWarp + list.lane;
      const uint64_t key = pair_key(value[k], column);
      // Written so that NaN fails.
      list.append(value[k] >= threshold && value[k] > 0.0f && column != row && key > least, key);
    }
    if (list.full_after(kRound)) list.merge();
  }
}

// Improves lists[row][places], sorted keys with the free places last, by the scores of a block: of the columns of the
// row's own image without the row itself (`inside`), or of all other images. The lists carry over from block to block.
static __global__ void __launch_bounds__(kSelectWarps* kWarp)
    topc_select(ScoreBlock block, int64_t images, const int64_t* __restrict__ image_ptr, bool inside, int places,
                int capacity, float threshold, uint64_t* __restrict__ lists) {
  SG_DYNAMIC_SHARED(uint64_t, shared);
  const int lane = threadIdx.x & (kWarp - 1), warp = threadIdx.x / kWarp;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * (blockDim.x / kWarp) + warp;
  if (at >= block.rows) return;  // a whole warp
  const int64_t row = block.first_row + at;
  int64_t low = 0, high = images;  // the last image that begins at or before the row
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (image_ptr[middle] <= row) low = middle;
    else high = middle;
  }
  const int64_t begin = image_ptr[low], past = image_ptr[low + 1];
  WarpList list{{shared + static_cast<int64_t>(warp) * capacity, places, capacity, lane}};
  uint64_t* kept = lists + row * places;
  for (int i = lane; i < places; i += kWarp) list.keys[i] = kept[i];
  __syncwarp();
  const int64_t end = block.first_column + block.columns;
#pragma unroll 1
  for (int part = 0; part < (inside ? 1 : 2); ++part) {
    const int64_t from = inside ? begin : part == 0 ? 0 : past, to = inside ? past : part == 0 ? begin : end;
    scan_scores(list, block, row, from, to, threshold);
  }
  if (list.waiting > 0) list.merge();
  for (int i = lane; i < places; i += kWarp) kept[i] = list.keys[i];
}

constexpr const char* kTopcOp = "topc_affinity";

// `image_ptr` has images + 1 elements, the first 0, the last the number of rows of the whole matrix.
inline void launch_topc_select(const ScoreBlock& block, int64_t images, const int64_t* image_ptr, bool inside,
                               int64_t places, float threshold, uint64_t* lists, cudaStream_t stream) {
  if (block.rows == 0 || block.columns == 0 || places == 0) return;
  const SelectShape shape = select_shape(places + kRound + kWarp);
  SG_LAUNCH(topc_select, make_grid(kTopcOp, ceil_div(block.rows, shape.warps)), dim3(shape.warps * kWarp),
            shape.shared(), stream, block, images, image_ptr, inside, static_cast<int>(places), shape.capacity,
            threshold, lists);
}

}  // namespace sg::cuda
