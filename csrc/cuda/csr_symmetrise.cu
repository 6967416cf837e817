// Host side of csr_symmetrise.

#include "cuda/csr_symmetrise.cuh"

#include <tuple>

#include "cuda/transpose_host.h"

namespace sg::cuda {
namespace {

constexpr const char* kOp = kSymmetriseOp;

std::tuple<Tensor, Tensor, Tensor, Tensor> csr_symmetrise(const Tensor& indptr, const Tensor& indices,
                                                          const Tensor& values, int64_t n) {
  const DeviceCsr csr = check_device_csr(kOp, indptr, indices, n, values);
  check_device_values(kOp, values, csr, ScalarType::Float, values);
  SG_CHECK(csr.rows == n, kOp, "indptr must have n + 1 = ", n + 1, " elements, got ", csr.rows + 1);
  const OnDevice device(values);
  check_content(kOp, device, indptr, csr);
  const EntryRows rows = find_rows(kOp, device, csr, indptr, indices, true);
  const Transposed turned = transposed<float>(kOp, device, csr, indices, rows.row_of, values);
  // The transpose of the transpose is the matrix with sorted rows.
  Transposed sorted{indptr, indices, values, rows.row_of};
  if (!rows.sorted) {
    const DeviceCsr again{turned.indptr.const_data_ptr<int64_t>(), turned.indices.const_data_ptr<int32_t>(), n, n,
                          csr.entries};
    sorted = transposed<float>(kOp, device, again, turned.indices, turned.row_of, turned.values);
  }

  Tensor counts[2] = {torch::stable::new_zeros(indices, {csr.entries + 1}),  // a 0 before the first entry
                      torch::stable::new_zeros(indices, {csr.entries + 1})};
  SortedSide sides[2];
  for (int k = 0; k < 2; ++k) {
    const Transposed& side = k == 0 ? sorted : turned;
    sides[k] = {side.indptr.const_data_ptr<int64_t>(), side.indices.const_data_ptr<int32_t>(),
                side.values.const_data_ptr<float>(), side.row_of.const_data_ptr<int32_t>(), nullptr};
  }
  Tensor before[2];
  for (int k = 0; k < 2; ++k) {
    launch_union_keep(csr.entries, sides[k], sides[1 - k], k == 1, counts[k].mutable_data_ptr<int32_t>() + 1,
                      device.stream());
    check_launch(kOp);
    before[k] = cumulative(counts[k]);
  }
  for (int k = 0; k < 2; ++k) sides[k].kept_before = before[k].const_data_ptr<int64_t>();

  Tensor out_indptr = torch::stable::new_empty(indptr, {n + 1});
  Tensor degree = torch::stable::new_empty(values, {n});
  launch_union_starts(n, sides[0], sides[1], out_indptr.mutable_data_ptr<int64_t>(), device.stream());
  check_launch(kOp);
  const int64_t entries = device.read_one(kOp, out_indptr.const_data_ptr<int64_t>() + n);
  Tensor out_indices = torch::stable::new_empty(indices, {entries});
  Tensor out_values = torch::stable::new_empty(values, {entries});
  launch_union_write(n, csr.entries, sides[0], sides[1], out_indptr.const_data_ptr<int64_t>(),
                     out_indices.mutable_data_ptr<int32_t>(), out_values.mutable_data_ptr<float>(),
                     degree.mutable_data_ptr<float>(), device.stream());
  check_launch(kOp);
  return {out_indptr, out_indices, out_values, degree};
}

}  // namespace
}  // namespace sg::cuda

SG_CUDA_OPERATOR(csr_symmetrise)
