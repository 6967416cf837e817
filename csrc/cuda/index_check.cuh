// Whether indices lie below a bound.

#pragma once

#include "cuda/launch.h"

namespace sg::cuda {

// `found` becomes count - p for the first p with indices[p] >= bound; it must be 0 before. Integer maxima do not depend
// on the order of the threads.
static __global__ void __launch_bounds__(kMostThreads)
    index_check(int64_t count, int64_t bound, const int32_t* __restrict__ indices,
                unsigned long long* __restrict__ found) {
  const int64_t p = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (p < count && indices[p] >= bound) atomicMax(found, static_cast<unsigned long long>(count - p));
}

inline void launch_index_check(const char* op, int64_t count, int64_t bound, const int32_t* indices,
                               unsigned long long* found, cudaStream_t stream) {
  if (count == 0) return;
  SG_LAUNCH(index_check, make_grid(op, ceil_div(count, kMostThreads)), dim3(kMostThreads), 0, stream, count, bound,
            indices, found);
}

}  // namespace sg::cuda
