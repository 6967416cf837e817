// Every kernel instantiated as the host side launches it, for nvcc -cubin and -ptx; no torch headers.

#include "cuda/csr_check.cuh"
#include "cuda/csr_spmm.cuh"
#include "cuda/gram.cuh"
#include "cuda/rotate.cuh"
#include "cuda/topc_select.cuh"

namespace sg::cuda {

template void launch_spmm<float>(int64_t, int64_t, int64_t, const int64_t*, const int32_t*, const float*, const float*,
                                 float*, int64_t*, float*, cudaStream_t);
template void launch_spmm<double>(int64_t, int64_t, int64_t, const int64_t*, const int32_t*, const double*,
                                  const double*, double*, int64_t*, double*, cudaStream_t);

}  // namespace sg::cuda
