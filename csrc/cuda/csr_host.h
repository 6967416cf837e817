// Shared host code of the sparse operators: checks with the messages of the CPU operators, sums and sorts by torch.

#pragma once

#include <optional>
#include <utility>

#include "cuda/csr_check.cuh"
#include "cuda/host.h"

namespace sg::cuda {

// A view of a sparse matrix in CSR.
struct DeviceCsr {
  const int64_t* indptr;   // rows + 1
  const int32_t* indices;  // entries
  int64_t rows, columns, entries;
};

// Checks shapes and dtypes; call check_content before the matrix is used, unless it was checked before.
inline DeviceCsr check_device_csr(const char* op, const Tensor& indptr, const Tensor& indices, int64_t columns,
                                  const Tensor& like) {
  check_device_tensor(op, "indptr", indptr, 1, ScalarType::Long, like);
  check_device_tensor(op, "indices", indices, 1, ScalarType::Int, like);
  SG_CHECK(indptr.numel() >= 1, op, "indptr must have rows + 1 elements, got none");
  SG_CHECK(columns >= 0 && columns <= std::numeric_limits<int32_t>::max(), op,
           "the number of columns must be in [0, 2147483647], got ", columns);
  return {indptr.const_data_ptr<int64_t>(), indices.const_data_ptr<int32_t>(), indptr.numel() - 1, columns,
          indices.numel()};
}

inline void check_device_values(const char* op, const Tensor& values, const DeviceCsr& csr, ScalarType type,
                                const Tensor& like) {
  check_device_tensor(op, "values", values, 1, type, like);
  SG_CHECK(values.numel() == csr.entries, op, "values must have as many elements as indices, ", csr.entries, ", got ",
           values.numel());
}

// Throws for the first fault of the matrix; synchronises with the GPU.
inline void check_content(const char* op, const OnDevice& device, const Tensor& indptr, const DeviceCsr& csr) {
  constexpr int64_t kWords = sizeof(CsrReport) / sizeof(int64_t);
  Tensor words = torch::stable::new_zeros(indptr, {kWords});
  auto* found = reinterpret_cast<CsrReport*>(words.mutable_data_ptr<int64_t>());
  launch_csr_check(op, csr.rows, csr.entries, csr.columns, csr.indptr, csr.indices, found, device.stream());
  check_launch(op);
  const CsrReport report = device.read_one(op, found);
  SG_CHECK(report.first == 0, op, "indptr must begin with 0, got ", report.first);
  SG_CHECK(report.last == csr.entries, op, "indptr must end with the number of indices, ", csr.entries, ", got ",
           report.last);
  if (report.falls != 0) {
    const int64_t i = csr.rows - static_cast<int64_t>(report.falls);
    fail(op, "indptr must not decrease, got indptr[", i, "] = ", device.read_one(op, csr.indptr + i), " and indptr[",
         i + 1, "] = ", device.read_one(op, csr.indptr + i + 1));
  }
  if (report.outside != 0) {
    const int64_t p = csr.entries - static_cast<int64_t>(report.outside);
    fail(op, "indices must lie in [0, ", csr.columns, "), got indices[", p,
         "] = ", device.read_one(op, csr.indices + p));
  }
}

// Returns the inclusive prefix sums, int64.
inline Tensor cumulative(const Tensor& counts) {
  StableIValue stack[] = {torch::stable::detail::from(counts), torch::stable::detail::from(int64_t{0}),
                          torch::stable::detail::from(std::optional<ScalarType>(ScalarType::Long))};
  STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::cumsum", "", stack, TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

// Returns the sorted values and their int64 source positions.
inline std::pair<Tensor, Tensor> stable_sort(const Tensor& values) {
  StableIValue stack[] = {torch::stable::detail::from(values), torch::stable::detail::from(std::optional<bool>(true)),
                          torch::stable::detail::from(int64_t{0}), torch::stable::detail::from(false)};
  STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::sort", "stable", stack, TORCH_ABI_VERSION));
  return {torch::stable::detail::to<Tensor>(stack[0]), torch::stable::detail::to<Tensor>(stack[1])};
}

}  // namespace sg::cuda
