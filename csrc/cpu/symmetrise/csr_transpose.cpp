// csr_transpose: A^T in CSR with sorted columns.

#include <tuple>

#include "cpu/core/torch_api.h"
#include "cpu/symmetrise/transpose.h"

namespace sg {
namespace {

constexpr const char* kOp = "csr_transpose";

std::tuple<Tensor, Tensor, Tensor> csr_transpose(const Tensor& indptr, const Tensor& indices, const Tensor& values,
                                                 int64_t columns) {
  const ScalarType type = check_floating(kOp, "values", values);
  const Csr csr = check_csr(kOp, indptr, indices, columns);
  check_values(kOp, values, csr, type);
  SG_CHECK(csr.rows <= std::numeric_limits<int32_t>::max(), kOp, "indptr must have at most 2147483647 rows, got ",
           csr.rows);
  Tensor out_indptr = torch::stable::new_empty(indptr, {columns + 1});
  Tensor out_indices = torch::stable::new_empty(indices, {csr.entries});
  Tensor out_values = torch::stable::new_empty(values, {csr.entries});
  int64_t* starts = out_indptr.mutable_data_ptr<int64_t>();
  int32_t* rows = out_indices.mutable_data_ptr<int32_t>();
  if (type == ScalarType::Float) {
    transpose(kOp, csr, values.const_data_ptr<float>(), starts, rows, out_values.mutable_data_ptr<float>());
  } else {
    transpose(kOp, csr, values.const_data_ptr<double>(), starts, rows, out_values.mutable_data_ptr<double>());
  }
  return {out_indptr, out_indices, out_values};
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("csr_transpose", TORCH_BOX(&sg::csr_transpose)); }
