// The c best columns of every row of a block of scores.
//
// The scores come from cuBLAS (torch.mm), not from a kernel fused with the selection. The selection needs whole rows
// while the product wants square tiles, so a fused kernel would keep sorted lists where the product needs registers. It
// would save one write and one read of the scores, 8 bytes a score, where the product costs 2 d operations a score.
// By the data sheet of an A100 (19.5 TFLOP/s in float32, 1555 GB/s) that is 5 ps against 39 ps at d = 384: a fused
// kernel that loses an eighth of cuBLAS's speed has lost its advantage. With TF32 (156 TFLOP/s) both take 5 ps and a
// fused kernel could win, but TF32 keeps 10 bits of each factor, which changes the order of near neighbours; torch has
// it off unless the user allows it. This is arithmetic, not a measurement.
//
// One warp works on one row. Every lane tests kTake scores, those that may enter the list are appended to a buffer in
// shared memory at places that a ballot gives out, and a full buffer is sorted into the list. After the first few
// columns hardly a score passes the test, so the cost is the reading, 32 neighbouring scores a request.

#pragma once

#include "cuda/launch.h"
#include "cuda/warp_sort.cuh"

namespace sg::cuda {

constexpr int kTake = 4;                    // scores a lane tests at a time
constexpr int kRound = kTake * kWarp;       // scores a warp tests at a time
constexpr int64_t kMostPlaces = 2048;       // of a list: twice as many keys are 32 KiB of shared memory
constexpr int64_t kMostShared = 48 << 10;   // bytes a block may have without asking for more
constexpr int kSelectWarps = 4;             // of a block, fewer where the lists are long

// The part of the score matrix that is at hand.
struct ScoreBlock {
  const float* scores;  // rows x columns
  int64_t rows, columns;
  int64_t first_row, first_column;  // in the whole matrix
};

struct SelectShape {
  int capacity;  // keys of a warp, a power of two
  int warps;     // of a block
  size_t shared() const { return sizeof(uint64_t) * capacity * warps; }
};

inline SelectShape select_shape(int64_t keys) {
  SelectShape shape{2, kSelectWarps};
  while (shape.capacity < keys) shape.capacity *= 2;
  while (shape.warps > 1 && static_cast<int64_t>(shape.shared()) > kMostShared) shape.warps /= 2;
  return shape;
}

// The larger key is the better pair: higher value, or the same value and the lower column. Values are positive, so
// their bits order as they do. 0 is a free place.
__device__ __forceinline__ uint64_t pair_key(float value, int64_t column) {
  return static_cast<uint64_t>(static_cast<uint32_t>(__float_as_int(value))) << 32 |
         static_cast<uint32_t>(~static_cast<uint32_t>(column));
}

__device__ __forceinline__ int power_of_two(int count) {
  int power = 2;
  while (power < count) power *= 2;
  return power;
}

// The keys of one warp: the list in the first `places`, sorted, then the buffer.
struct WarpList {
  uint64_t* keys;
  int places, capacity, lane;
  int waiting = 0;  // in the buffer; the same in all lanes

  __device__ __forceinline__ void merge() {
    const int used = places + waiting, size = power_of_two(used);
    for (int i = used + lane; i < size; i += kWarp) keys[i] = 0;
    __syncwarp();
    warp_sort<true>(keys, size, lane);
    waiting = 0;
  }

  // Offers the scores of the columns [begin, past) of the whole matrix.
  __device__ __forceinline__ void scan(const ScoreBlock& block, int64_t row, int64_t begin, int64_t past,
                                       float threshold) {
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
        const int64_t column = base + k * kWarp + lane;
        value[k] = column >= begin && column < past ? scores[column] : 0.0f;
      }
      const uint64_t least = keys[places - 1];
#pragma unroll
      for (int k = 0; k < kTake; ++k) {
        const int64_t column = base + k * kWarp + lane;
        const uint64_t key = pair_key(value[k], column);
        // Written so that NaN fails.
        const bool passes = value[k] >= threshold && value[k] > 0.0f && column != row && key > least;
        const unsigned passing = __ballot_sync(kWholeWarp, passes);
        if (passes) keys[places + waiting + __popc(passing & ((1u << lane) - 1u))] = key;
        waiting += __popc(passing);
      }
      if (places + waiting + kRound > capacity) merge();
    }
  }
};

// Improves lists[row][places], sorted keys with the free places last, by the scores of a block: of the columns of the
// row's own image without the row itself (`inside`), or of all other images. The lists carry over from block to block.
__global__ void __launch_bounds__(kSelectWarps* kWarp)
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
  WarpList list{shared + static_cast<int64_t>(warp) * capacity, places, capacity, lane};
  uint64_t* kept = lists + row * places;
  for (int i = lane; i < places; i += kWarp) list.keys[i] = kept[i];
  __syncwarp();
  const int64_t end = block.first_column + block.columns;
#pragma unroll 1
  for (int part = 0; part < (inside ? 1 : 2); ++part) {
    list.scan(block, row, inside ? begin : part == 0 ? 0 : past, inside ? past : part == 0 ? begin : end, threshold);
  }
  if (list.waiting > 0) list.merge();
  for (int i = lane; i < places; i += kWarp) kept[i] = list.keys[i];
}

// The number of pairs in both lists of each row.
__global__ void __launch_bounds__(kMostThreads)
    topc_count(int64_t rows, int intra_places, int inter_places, const uint64_t* __restrict__ intra,
               const uint64_t* __restrict__ inter, int64_t* __restrict__ counts) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  int64_t count = 0;
#pragma unroll
  for (int kind = 0; kind < 2; ++kind) {
    const int places = kind == 0 ? intra_places : inter_places;
    const uint64_t* keys = (kind == 0 ? intra : inter) + row * places;
    int low = 0, high = places;  // the free places are last
    while (low < high) {
      const int middle = low + (high - low) / 2;
      if (keys[middle] != 0) low = middle + 1;
      else high = middle;
    }
    count += low;
  }
  counts[row] = count;
}

// Writes the pairs of both lists in the order of their columns, from indptr[row] on.
__global__ void __launch_bounds__(kSelectWarps* kWarp)
    topc_write(int64_t rows, int intra_places, int inter_places, int capacity, const uint64_t* __restrict__ intra,
               const uint64_t* __restrict__ inter, const int64_t* __restrict__ indptr, int32_t* __restrict__ indices,
               float* __restrict__ values) {
  SG_DYNAMIC_SHARED(uint64_t, shared);
  const int lane = threadIdx.x & (kWarp - 1), warp = threadIdx.x / kWarp;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (blockDim.x / kWarp) + warp;
  if (row >= rows) return;  // a whole warp
  uint64_t* keys = shared + static_cast<int64_t>(warp) * capacity;
  for (int i = lane; i < capacity; i += kWarp) {
    uint64_t key = 0;
    if (i < intra_places) key = intra[row * intra_places + i];
    else if (i < intra_places + inter_places) key = inter[row * inter_places + i - intra_places];
    // The column above the value; a free place goes to the end.
    const uint64_t column = static_cast<uint32_t>(~static_cast<uint32_t>(key));
    keys[i] = key == 0 ? ~uint64_t{0} : column << 32 | key >> 32;
  }
  __syncwarp();
  warp_sort<false>(keys, capacity, lane);
  const int64_t start = indptr[row];
  const int count = static_cast<int>(indptr[row + 1] - start);
  for (int i = lane; i < count; i += kWarp) {
    indices[start + i] = static_cast<int32_t>(keys[i] >> 32);
    values[start + i] = __int_as_float(static_cast<int>(static_cast<uint32_t>(keys[i])));
  }
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

inline void launch_topc_count(int64_t rows, int64_t intra_places, int64_t inter_places, const uint64_t* intra,
                              const uint64_t* inter, int64_t* counts, cudaStream_t stream) {
  if (rows == 0) return;
  SG_LAUNCH(topc_count, make_grid(kTopcOp, ceil_div(rows, kMostThreads)), dim3(kMostThreads), 0, stream, rows,
            static_cast<int>(intra_places), static_cast<int>(inter_places), intra, inter, counts);
}

inline void launch_topc_write(int64_t rows, int64_t intra_places, int64_t inter_places, const uint64_t* intra,
                              const uint64_t* inter, const int64_t* indptr, int32_t* indices, float* values,
                              cudaStream_t stream) {
  if (rows == 0) return;
  const SelectShape shape = select_shape(intra_places + inter_places);
  SG_LAUNCH(topc_write, make_grid(kTopcOp, ceil_div(rows, shape.warps)), dim3(shape.warps * kWarp), shape.shared(),
            stream, rows, static_cast<int>(intra_places), static_cast<int>(inter_places), shape.capacity, intra, inter,
            indptr, indices, values);
}

}  // namespace sg::cuda
