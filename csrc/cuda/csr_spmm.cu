// Host side of csr_spmm.

#include "cuda/csr_spmm.cuh"

#include "cuda/csr_check.cuh"
#include "cuda/host.h"

namespace sg::cuda {
namespace {

constexpr const char* kOp = "csr_spmm";

// Names the first fault of the matrix; this waits for the GPU.
void check_content(const OnDevice& device, const Tensor& indptr, const Tensor& indices, int64_t columns) {
  const int64_t rows = indptr.numel() - 1, entries = indices.numel();
  const int64_t* starts = indptr.const_data_ptr<int64_t>();
  const int32_t* names = indices.const_data_ptr<int32_t>();
  const int64_t first = device.read_one(kOp, starts), last = device.read_one(kOp, starts + rows);
  SG_CHECK(first == 0, kOp, "indptr must begin with 0, got ", first);
  SG_CHECK(last == entries, kOp, "indptr must end with the number of indices, ", entries, ", got ", last);
  Tensor faults = torch::stable::new_zeros(indptr, {2});
  auto* found = reinterpret_cast<unsigned long long*>(faults.mutable_data_ptr<int64_t>());
  launch_csr_check(kOp, rows, entries, columns, starts, names, found, device.stream());
  check_launch(kOp);
  unsigned long long fault[2];
  device.read(kOp, found, fault, 2);
  if (fault[0] != 0) {
    const int64_t i = rows - static_cast<int64_t>(fault[0]);
    fail(kOp, "indptr must not decrease, got indptr[", i, "] = ", device.read_one(kOp, starts + i), " and indptr[",
         i + 1, "] = ", device.read_one(kOp, starts + i + 1));
  }
  if (fault[1] != 0) {
    const int64_t p = entries - static_cast<int64_t>(fault[1]);
    fail(kOp, "indices must lie in [0, ", columns, "), got indices[", p, "] = ", device.read_one(kOp, names + p));
  }
}

template <class T>
void multiply(const OnDevice& device, const Tensor& indptr, const Tensor& indices, const Tensor& values,
              const Tensor& x, Tensor& y) {
  const int64_t rows = indptr.numel() - 1, entries = indices.numel(), channels = x.size(1);
  const int64_t segments = spmm_segment_count(rows, entries);
  Tensor first_row = torch::stable::new_empty(indptr, {segments + 1});
  Tensor carry = torch::stable::new_empty(x, {segments, channels});
  launch_spmm<T>(rows, entries, channels, indptr.const_data_ptr<int64_t>(), indices.const_data_ptr<int32_t>(),
                 values.const_data_ptr<T>(), x.const_data_ptr<T>(), y.mutable_data_ptr<T>(),
                 first_row.mutable_data_ptr<int64_t>(), carry.mutable_data_ptr<T>(), device.stream());
  check_launch(kOp);
}

Tensor csr_spmm(const Tensor& indptr, const Tensor& indices, const Tensor& values, const Tensor& x, bool check) {
  const ScalarType type = check_floating(kOp, "x", x);
  check_device_tensor(kOp, "x", x, 2, type, x);
  check_device_tensor(kOp, "indptr", indptr, 1, ScalarType::Long, x);
  check_device_tensor(kOp, "indices", indices, 1, ScalarType::Int, x);
  SG_CHECK(indptr.numel() >= 1, kOp, "indptr must have rows + 1 elements, got none");
  SG_CHECK(x.size(0) <= std::numeric_limits<int32_t>::max(), kOp,
           "the number of columns must be in [0, 2147483647], got ", x.size(0));
  check_device_tensor(kOp, "values", values, 1, type, x);
  SG_CHECK(values.numel() == indices.numel(), kOp, "values must have as many elements as indices, ", indices.numel(),
           ", got ", values.numel());
  const OnDevice device(x);
  if (check) check_content(device, indptr, indices, x.size(0));
  Tensor y = torch::stable::new_empty(x, {indptr.numel() - 1, x.size(1)});
  if (type == ScalarType::Float) multiply<float>(device, indptr, indices, values, x, y);
  else multiply<double>(device, indptr, indices, values, x, y);
  return y;
}

}  // namespace
}  // namespace sg::cuda

SG_CUDA_OPERATOR(csr_spmm)
