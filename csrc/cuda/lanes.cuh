// Threads in groups of `lanes`, one thread for V adjacent columns. The groups are contiguous across warps and blocks:
// 50 columns with V = 2 take 25 threads, and 256 threads hold ten groups and a part of the eleventh. Only the last
// block of a launch has idle threads. A group may span warps, so its kernels use no warp-level operations.

#pragma once

#include <cstdint>

#include "cuda/launch.h"

namespace sg::cuda {

struct LaneShape {
  int lanes;      // threads of a group, at most kMostThreads
  int64_t tiles;  // of `lanes` vectors; more than one only where a row has more than kMostThreads vectors

  dim3 grid(const char* op, int64_t groups) const {
    return make_grid(op, ceil_div(groups * lanes, kMostThreads), tiles);
  }
};

inline LaneShape lane_shape(int64_t channels, int vector) {
  const int64_t vectors = channels / vector;
  const int64_t tiles = std::max<int64_t>(1, ceil_div(vectors, kMostThreads));
  return {static_cast<int>(std::max<int64_t>(1, ceil_div(vectors, tiles))), tiles};
}

struct Place {
  int64_t group;
  int lane;
};

// Splits blockIdx.x * blockDim.x + threadIdx.x into group and lane. 32-bit divisions only: a GPU has no instruction for
// the 64-bit one.
__device__ __forceinline__ Place find_place(int lanes) {
  const unsigned size = static_cast<unsigned>(lanes);
  const unsigned turns = blockIdx.x / size;
  const unsigned at = (blockIdx.x - turns * size) * blockDim.x + threadIdx.x;
  const unsigned group = at / size;
  return {static_cast<int64_t>(turns) * blockDim.x + group, static_cast<int>(at - group * size)};
}

// Whether vectors of V elements of these rows begin at multiples of their size.
template <class T>
bool rows_aligned(const T* from, int64_t channels, int vector) {
  return channels % vector == 0 && reinterpret_cast<uintptr_t>(from) % (vector * sizeof(T)) == 0;
}

template <class T, int V>
__device__ __forceinline__ Vector<T, V> load_vector(const T* from) {
  return *reinterpret_cast<const Vector<T, V>*>(from);
}

template <class T, int V>
__device__ __forceinline__ void store_vector(T* to, const Vector<T, V>& vector) {
  *reinterpret_cast<Vector<T, V>*>(to) = vector;
}

}  // namespace sg::cuda
