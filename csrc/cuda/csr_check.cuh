// Whether a matrix in compressed rows names only what exists.

#pragma once

#include "cuda/launch.h"

namespace sg::cuda {

// faults[0] becomes rows - i for the first i with indptr[i] > indptr[i + 1], faults[1] entries - p for the first p with
// an index outside [0, columns); both must be 0 before. Integer maxima do not depend on the order of the threads.
__global__ void __launch_bounds__(kMostThreads)
    csr_check(int64_t rows, int64_t entries, int64_t columns, const int64_t* __restrict__ indptr,
              const int32_t* __restrict__ indices, unsigned long long* __restrict__ faults) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at < rows && indptr[at] > indptr[at + 1]) atomicMax(&faults[0], static_cast<unsigned long long>(rows - at));
  if (at < entries && (indices[at] < 0 || indices[at] >= columns)) {
    atomicMax(&faults[1], static_cast<unsigned long long>(entries - at));
  }
}

inline void launch_csr_check(const char* op, int64_t rows, int64_t entries, int64_t columns, const int64_t* indptr,
                             const int32_t* indices, unsigned long long* faults, cudaStream_t stream) {
  const int64_t work = std::max(rows, entries);
  if (work == 0) return;
  SG_LAUNCH(csr_check, make_grid(op, ceil_div(work, kMostThreads)), dim3(kMostThreads), 0, stream, rows, entries,
            columns, indptr, indices, faults);
}

}  // namespace sg::cuda
