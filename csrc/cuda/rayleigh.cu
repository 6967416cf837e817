// Host side of rayleigh.

#include "cuda/rayleigh.cuh"

#include <tuple>

#include "cuda/csr_host.h"

namespace sg::cuda {
namespace {

constexpr const char* kOp = "rayleigh";

std::tuple<Tensor, Tensor> rayleigh(const Tensor& indptr, const Tensor& indices, const Tensor& values,
                                    const Tensor& inverse_degree, const Tensor& u) {
  check_device_tensor(kOp, "u", u, 2, ScalarType::Float, u);
  const int64_t n = u.size(0), channels = u.size(1);
  const DeviceCsr csr = check_device_csr(kOp, indptr, indices, n, u);
  SG_CHECK(csr.rows == n, kOp, "u must have as many rows as the matrix, ", csr.rows, ", got ", n);
  check_device_values(kOp, values, csr, ScalarType::Float, u);
  check_device_tensor(kOp, "inverse_degree", inverse_degree, 1, ScalarType::Float, u);
  SG_CHECK(inverse_degree.numel() == n, kOp, "inverse_degree must have as many elements as u has rows, ", n, ", got ",
           inverse_degree.numel());
  const OnDevice device(u);
  check_content(kOp, device, indptr, csr);
  Tensor gradient = torch::stable::new_empty(u, {n, channels});
  Tensor s = torch::stable::new_empty(u, {channels}, ScalarType::Double);
  const int64_t segments = segment_count(n, csr.entries);
  const int vector = rayleigh_vector(channels, u.const_data_ptr<float>(), gradient.const_data_ptr<float>());
  const int64_t parts = rayleigh_parts(n, csr.entries, channels, vector);
  Tensor first_row = torch::stable::new_empty(indptr, {segments + 1});
  Tensor carry = torch::stable::new_empty(u, {segments, channels});
  Tensor partial = torch::stable::new_empty(s, {parts, channels});
  Tensor sums = torch::stable::new_empty(s, {ceil_div(parts, kSumParts), channels});
  launch_rayleigh(n, csr.entries, channels, csr.indptr, csr.indices, values.const_data_ptr<float>(),
                  inverse_degree.const_data_ptr<float>(), u.const_data_ptr<float>(), s.mutable_data_ptr<double>(),
                  gradient.mutable_data_ptr<float>(),
                  {first_row.mutable_data_ptr<int64_t>(), carry.mutable_data_ptr<float>(),
                   partial.mutable_data_ptr<double>(), sums.mutable_data_ptr<double>()},
                  device.stream());
  check_launch(kOp);
  return {s, gradient};
}

}  // namespace
}  // namespace sg::cuda

SG_CUDA_OPERATOR(rayleigh)
