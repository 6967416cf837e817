// Every kernel instantiated as the host sides launch it, for nvcc -cubin and -ptx; no torch headers.

#include "cuda/adam_rows.cuh"
#include "cuda/cell_topc.cuh"
#include "cuda/chebyshev_step.cuh"
#include "cuda/cosine_topc.cuh"
#include "cuda/csr_check.cuh"
#include "cuda/csr_sddmm.cuh"
#include "cuda/csr_spmm.cuh"
#include "cuda/csr_symmetrise.cuh"
#include "cuda/csr_transpose.cuh"
#include "cuda/gram.cuh"
#include "cuda/index_check.cuh"
#include "cuda/rayleigh.cuh"
#include "cuda/rotate.cuh"
#include "cuda/topc_merge.cuh"
#include "cuda/topc_select.cuh"
#include "cuda/unit_project.cuh"

namespace sg::cuda {

template <class... Functions>
void use(Functions...) {}

void instantiate() {
  use(launch_spmm<float, float>, launch_spmm<float, Bf16>, launch_spmm<double, double>);
  use(launch_sddmm<float>, launch_sddmm<double>);
  use(launch_transpose_entries<float>, launch_transpose_entries<double>);
  use(launch_adam_rows<int64_t>, launch_adam_rows<float>);
  use(launch_unit_rows<float>, launch_unit_rows<Half>);
  use(launch_cosine_topc<float>, launch_cosine_topc<Half>, launch_cell_topc<float>, launch_cell_topc<Half>);
}

}  // namespace sg::cuda
