// The top-c lists of the rows: 64-bit keys in descending order, the free places last. The selection kernels share the
// number of warps of a block, the list of a warp, and the conversion of lists to a CSR matrix or two dense ones.

#pragma once

#include "cuda/launch.h"
#include "cuda/pair_keys.cuh"
#include "cuda/warp_sort.cuh"

namespace sg::cuda {

constexpr int64_t kMostPlaces = 2048;       // of a list: twice as many keys are 32 KiB of shared memory
constexpr int64_t kMostShared = 48 << 10;   // bytes a block may have without asking for more
constexpr int kSelectWarps = 4;             // of a block, fewer where the lists are long

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

__device__ __forceinline__ int power_of_two(int count) {
  int power = 2;
  while (power < count) power *= 2;
  return power;
}

// The keys of one warp in shared memory: the list in the first `places`, descending, then a buffer.
struct KeyBuffer {
  uint64_t* keys;
  int places, capacity, lane;
  int waiting = 0;  // in the buffer; the same in all lanes

  __device__ __forceinline__ uint64_t least() const { return keys[places - 1]; }

  // Whether another `count` keys might not fit.
  __device__ __forceinline__ bool full_after(int count) const { return places + waiting + count > capacity; }

  // Puts the keys that pass into the buffer, at places that a ballot gives out; all lanes of the warp come.
  __device__ __forceinline__ void append(bool passes, uint64_t key) {
    const unsigned passing = __ballot_sync(kWholeWarp, passes);
    if (passes) keys[places + waiting + __popc(passing & ((1u << lane) - 1u))] = key;
    waiting += __popc(passing);
  }
};

// One whose keys come once each.
struct WarpList : KeyBuffer {
  __device__ __forceinline__ void merge() {
    const int used = places + waiting, size = power_of_two(used);
    for (int i = used + lane; i < size; i += kWarp) keys[i] = 0;
    __syncwarp();
    warp_sort<true>(keys, size, lane);
    waiting = 0;
  }
};

// A list needs no more places than there are candidates, and one even where there are none.
inline int64_t list_places(int64_t c, int64_t most) { return std::max<int64_t>(1, std::min(c, most)); }

// Writes a list in its order, free places as -1 and 0; `name_of` makes the column of a key's.
template <class Name>
__device__ __forceinline__ void write_list(const WarpList& list, int64_t row, int64_t places, const Name& name_of,
                                           int32_t* __restrict__ columns, float* __restrict__ values) {
  for (int64_t i = list.lane; i < places; i += kWarp) {
    const uint64_t key = i < list.places ? list.keys[i] : 0;
    columns[row * places + i] = key == 0 ? -1 : name_of(~static_cast<uint32_t>(key));
    values[row * places + i] = key == 0 ? 0.0f : ordered_value(static_cast<uint32_t>(key >> 32));
  }
}

// The list of a query, empty.
__device__ __forceinline__ WarpList empty_list(uint64_t* shared, int warp, int lane, int places, int capacity) {
  WarpList list{{shared + static_cast<int64_t>(warp) * capacity, places, capacity, lane}};
  for (int i = lane; i < places; i += kWarp) list.keys[i] = 0;
  __syncwarp();
  return list;
}

// The number of pairs in both lists of each row.
static __global__ void __launch_bounds__(kMostThreads)
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
static __global__ void __launch_bounds__(kSelectWarps* kWarp)
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
    keys[i] = column_key(key);
  }
  __syncwarp();
  warp_sort<false>(keys, capacity, lane);
  const int64_t start = indptr[row];
  const int count = static_cast<int>(indptr[row + 1] - start);
  for (int i = lane; i < count; i += kWarp) {
    indices[start + i] = static_cast<int32_t>(keys[i] >> 32);
    values[start + i] = ordered_value(~static_cast<uint32_t>(keys[i]));
  }
}

inline void launch_topc_count(const char* op, int64_t rows, int64_t intra_places, int64_t inter_places,
                              const uint64_t* intra, const uint64_t* inter, int64_t* counts, cudaStream_t stream) {
  if (rows == 0) return;
  SG_LAUNCH(topc_count, make_grid(op, ceil_div(rows, kMostThreads)), dim3(kMostThreads), 0, stream, rows,
            static_cast<int>(intra_places), static_cast<int>(inter_places), intra, inter, counts);
}

inline void launch_topc_write(const char* op, int64_t rows, int64_t intra_places, int64_t inter_places,
                              const uint64_t* intra, const uint64_t* inter, const int64_t* indptr, int32_t* indices,
                              float* values, cudaStream_t stream) {
  if (rows == 0) return;
  const SelectShape shape = select_shape(intra_places + inter_places);
  SG_LAUNCH(topc_write, make_grid(op, ceil_div(rows, shape.warps)), dim3(shape.warps * kWarp), shape.shared(),
            stream, rows, static_cast<int>(intra_places), static_cast<int>(inter_places), shape.capacity, intra, inter,
            indptr, indices, values);
}

}  // namespace sg::cuda
