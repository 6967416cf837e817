// Host side of csr_sddmm.

#include "cuda/csr_sddmm.cuh"

#include "cuda/csr_host.h"

namespace sg::cuda {
namespace {

constexpr const char* kOp = "csr_sddmm";

template <class T>
void multiply(const OnDevice& device, const DeviceCsr& csr, const Tensor& a, const Tensor& b, Tensor& values) {
  launch_sddmm(csr.rows, csr.entries, a.size(1), csr.indptr, csr.indices, a.const_data_ptr<T>(), b.const_data_ptr<T>(),
               values.mutable_data_ptr<T>(), device.stream());
  check_launch(kOp);
}

Tensor csr_sddmm(const Tensor& indptr, const Tensor& indices, const Tensor& a, const Tensor& b) {
  const ScalarType type = check_floating(kOp, "a", a);
  check_device_tensor(kOp, "a", a, 2, type, a);
  check_device_tensor(kOp, "b", b, 2, type, a);
  const int64_t channels = a.size(1);
  SG_CHECK(b.size(1) == channels, kOp, "b must have as many columns as a, ", channels, ", got ", b.size(1));
  const DeviceCsr csr = check_device_csr(kOp, indptr, indices, b.size(0), a);
  SG_CHECK(a.size(0) == csr.rows, kOp, "a must have as many rows as the matrix, ", csr.rows, ", got ", a.size(0));
  const OnDevice device(a);
  check_content(kOp, device, indptr, csr);
  Tensor values = torch::stable::new_empty(a, {csr.entries});
  if (type == ScalarType::Float) multiply<float>(device, csr, a, b, values);
  else multiply<double>(device, csr, a, b, values);
  return values;
}

}  // namespace
}  // namespace sg::cuda

SG_CUDA_OPERATOR(csr_sddmm)
