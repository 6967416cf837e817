// Host side of csr_spmm.

#include "cuda/csr_spmm.cuh"

#include "cuda/csr_host.h"

namespace sg::cuda {
namespace {

constexpr const char* kOp = "csr_spmm";

template <class T, class X>
void multiply(const OnDevice& device, const DeviceCsr& csr, const Tensor& indptr, const T* values, const X* x,
              Tensor& y) {
  const int64_t channels = y.size(1), segments = segment_count(csr.rows, csr.entries);
  Tensor first_row = torch::stable::new_empty(indptr, {segments + 1});
  Tensor carry = torch::stable::new_empty(y, {segments, channels});
  launch_spmm<T, X>(csr.rows, csr.entries, channels, csr.indptr, csr.indices, values, x, y.mutable_data_ptr<T>(),
                    first_row.mutable_data_ptr<int64_t>(), carry.mutable_data_ptr<T>(), device.stream());
  check_launch(kOp);
}

Tensor csr_spmm(const Tensor& indptr, const Tensor& indices, const Tensor& values, const Tensor& x, bool check) {
  const ScalarType type = x.scalar_type();
  SG_CHECK(type == ScalarType::Float || type == ScalarType::Double || type == ScalarType::BFloat16, kOp,
           "x must be float32, float64 or bfloat16, got ", dtype_name(type));
  check_device_tensor(kOp, "x", x, 2, type, x);
  const ScalarType result = type == ScalarType::Double ? type : ScalarType::Float;
  const DeviceCsr csr = check_device_csr(kOp, indptr, indices, x.size(0), x);
  check_device_values(kOp, values, csr, result, x);
  const OnDevice device(x);
  if (check) check_content(kOp, device, indptr, csr);
  Tensor y = torch::stable::new_empty(x, {csr.rows, x.size(1)}, result);
  if (type == ScalarType::Double) {
    multiply(device, csr, indptr, values.const_data_ptr<double>(), x.const_data_ptr<double>(), y);
  } else if (type == ScalarType::Float) {
    multiply(device, csr, indptr, values.const_data_ptr<float>(), x.const_data_ptr<float>(), y);
  } else {
    multiply(device, csr, indptr, values.const_data_ptr<float>(), static_cast<const Bf16*>(x.const_data_ptr()), y);
  }
  return y;
}

}  // namespace
}  // namespace sg::cuda

SG_CUDA_OPERATOR(csr_spmm)
