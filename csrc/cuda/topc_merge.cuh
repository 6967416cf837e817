// The c best candidates of every row from several candidate lists.
//
// One warp works on one row, as in topc_select: 32 candidates at a time, those that may enter go to a buffer behind the
// row's list in shared memory, and a full buffer is merged into the list. A column may come more than once, so a merge
// sorts by column, drops all but the highest value of each, and sorts by value. A candidate that fell out of the list
// and comes again with a higher value enters then, with a lower one it would fall out again: so the result is that of
// one selection among all, whatever the order.

#pragma once

#include "cuda/topc_list.cuh"

namespace sg::cuda {

constexpr int kMergeLists = 16;  // of one launch; more take several launches

struct CandidateLists {
  const int64_t* indptr[kMergeLists];
  const int32_t* indices[kMergeLists];
  const float* values[kMergeLists];
  int count;
};

// One whose columns may come more than once.
struct MergeList : KeyBuffer {
  __device__ __forceinline__ void merge() {
    const int used = places + waiting, size = power_of_two(used);
    __syncwarp();  // the buffer was filled by other lanes
    for (int i = lane; i < size; i += kWarp) keys[i] = i < used ? column_key(keys[i]) : kNoColumn;
    __syncwarp();
    warp_sort<false>(keys, size, lane);
    // From the end, so that the neighbour below has not been changed when it is read.
    for (int base = size - kWarp; base > -kWarp; base -= kWarp) {
      const int i = base + lane;
      const bool doubled = i > 0 && keys[i - 1] >> 32 == keys[i] >> 32;
      const uint64_t key = i < 0 || doubled ? 0 : pair_of_column_key(keys[i]);
      __syncwarp();
      if (i >= 0) keys[i] = key;
      __syncwarp();
    }
    warp_sort<true>(keys, size, lane);
    waiting = 0;
  }

  __device__ __forceinline__ void scan(const int32_t* __restrict__ indices, const float* __restrict__ values,
                                       int64_t begin, int64_t past) {
    // Requests begin at multiples of 128 bytes, whatever the row.
#pragma unroll 1
    for (int64_t base = begin & ~static_cast<int64_t>(kWarp - 1); base < past; base += kWarp) {
      const int64_t p = base + lane;
      const bool inside = p >= begin && p < past;
      const float value = inside ? values[p] : 0.0f;
      const uint64_t key = inside && value == value ? pair_key(value, indices[p]) : 0;
      append(key > least(), key);  // at least 0: an empty place
      if (full_after(kWarp)) merge();
    }
  }
};

// Improves kept[row][places], keys in descending order with 0 for free places, by the candidates of all lists.
static __global__ void __launch_bounds__(kSelectWarps* kWarp)
    topc_merge_rows(int64_t rows, const __grid_constant__ CandidateLists lists, int places, int capacity,
                    uint64_t* __restrict__ kept) {
  SG_DYNAMIC_SHARED(uint64_t, shared);
  const int lane = threadIdx.x & (kWarp - 1), warp = threadIdx.x / kWarp;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (blockDim.x / kWarp) + warp;
  if (row >= rows) return;  // a whole warp
  MergeList list{{shared + static_cast<int64_t>(warp) * capacity, places, capacity, lane}};
  for (int i = lane; i < places; i += kWarp) list.keys[i] = kept[row * places + i];
  __syncwarp();
#pragma unroll 1
  for (int k = 0; k < lists.count; ++k) {
    list.scan(lists.indices[k], lists.values[k], lists.indptr[k][row], lists.indptr[k][row + 1]);
  }
  if (list.waiting > 0) list.merge();
  for (int i = lane; i < places; i += kWarp) kept[row * places + i] = list.keys[i];
}

inline void launch_topc_merge(int64_t rows, const CandidateLists& lists, int64_t places, uint64_t* kept,
                              cudaStream_t stream) {
  if (rows == 0 || places == 0) return;
  const SelectShape shape = select_shape(places + 2 * kWarp);
  SG_LAUNCH(topc_merge_rows, make_grid("topc_merge", ceil_div(rows, shape.warps)), dim3(shape.warps * kWarp),
            shape.shared(), stream, rows, lists, static_cast<int>(places), shape.capacity, kept);
}

}  // namespace sg::cuda
