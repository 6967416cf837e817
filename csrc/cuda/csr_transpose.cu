// Host side of csr_transpose.

#include <tuple>

#include "cuda/transpose_host.h"

namespace sg::cuda {
namespace {

constexpr const char* kOp = "csr_transpose";

std::tuple<Tensor, Tensor, Tensor> csr_transpose(const Tensor& indptr, const Tensor& indices, const Tensor& values,
                                                 int64_t columns) {
  const ScalarType type = check_floating(kOp, "values", values);
  const DeviceCsr csr = check_device_csr(kOp, indptr, indices, columns, values);
  check_device_values(kOp, values, csr, type, values);
  SG_CHECK(csr.rows <= std::numeric_limits<int32_t>::max(), kOp, "indptr must have at most 2147483647 rows, got ",
           csr.rows);
  const OnDevice device(values);
  check_content(kOp, device, indptr, csr);
  const EntryRows rows = find_rows(kOp, device, csr, indptr, indices, false);
  const auto turn = type == ScalarType::Float ? transposed<float> : transposed<double>;
  const Transposed out = turn(kOp, device, csr, indices, rows.row_of, values);
  return {out.indptr, out.indices, out.values};
}

}  // namespace
}  // namespace sg::cuda

SG_CUDA_OPERATOR(csr_transpose)
