// Sorts 64-bit keys in shared memory with one warp.

#pragma once

#include "cuda/cuda_api.h"

namespace sg::cuda {

// Bitonic sort of keys[0, count), count a power of two; all lanes of the warp take part, before and after it they are
// in step. Descending: the largest key comes first.
template <bool Descending>
__device__ __forceinline__ void warp_sort(uint64_t* keys, int count, int lane) {
  for (int run = 2; run <= count; run *= 2) {
    for (int step = run / 2; step > 0; step /= 2) {
      for (int pair = lane; pair < count / 2; pair += kWarp) {
        const int low = 2 * pair - (pair & (step - 1));
        const uint64_t first = keys[low], second = keys[low + step];
        const bool falls = ((low & run) == 0) == Descending;
        if ((first < second) == falls && first != second) {
          keys[low] = second;
          keys[low + step] = first;
        }
      }
      __syncwarp();
    }
  }
}

}  // namespace sg::cuda
