// Checks that the row pointers and indices of a CSR matrix stay inside its arrays.

#pragma once

#include "cuda/launch.h"

namespace sg::cuda {

// The result of csr_check; the caller sets it to 0.
struct CsrReport {
  unsigned long long falls;    // rows - i for the first i with indptr[i] > indptr[i + 1]
  unsigned long long outside;  // entries - p for the first p with an index outside [0, columns)
  int64_t first, last;         // indptr[0] and indptr[rows]
};

// Integer maxima do not depend on the order of the threads.
static __global__ void __launch_bounds__(kMostThreads)
    csr_check(int64_t rows, int64_t entries, int64_t columns, const int64_t* __restrict__ indptr,
              const int32_t* __restrict__ indices, CsrReport* __restrict__ report) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at == 0) {
    report->first = indptr[0];
    report->last = indptr[rows];
  }
  if (at < rows && indptr[at] > indptr[at + 1]) atomicMax(&report->falls, static_cast<unsigned long long>(rows - at));
  if (at < entries && (indices[at] < 0 || indices[at] >= columns)) {
    atomicMax(&report->outside, static_cast<unsigned long long>(entries - at));
  }
}

inline void launch_csr_check(const char* op, int64_t rows, int64_t entries, int64_t columns, const int64_t* indptr,
                             const int32_t* indices, CsrReport* report, cudaStream_t stream) {
  const int64_t work = std::max<int64_t>(1, std::max(rows, entries));
  SG_LAUNCH(csr_check, make_grid(op, ceil_div(work, kMostThreads)), dim3(kMostThreads), 0, stream, rows, entries,
            columns, indptr, indices, report);
}

}  // namespace sg::cuda
