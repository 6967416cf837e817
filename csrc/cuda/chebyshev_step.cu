// Host side of chebyshev_step_.

#include "cuda/chebyshev_step.cuh"

#include "cuda/csr_host.h"

namespace sg::cuda {
namespace {

constexpr const char* kOp = "chebyshev_step_";

void check_rows(const char* name, const Tensor& tensor, int64_t rows, int64_t channels, const Tensor& like) {
  check_device_tensor(kOp, name, tensor, 2, ScalarType::Float, like);
  SG_CHECK(tensor.size(0) == rows && tensor.size(1) == channels, kOp, name, " must have the shape of A x, (", rows,
           ", ", channels, "), got ", shape_text(tensor));
}

void chebyshev_step_(const Tensor& indptr, const Tensor& indices, const Tensor& values, const Tensor& x,
                     const Tensor& own, const Tensor& y, double gain, double shift, double keep, bool check) {
  check_device_tensor(kOp, "x", x, 2, ScalarType::Float, x);
  const DeviceCsr csr = check_device_csr(kOp, indptr, indices, x.size(0), x);
  check_device_values(kOp, values, csr, ScalarType::Float, x);
  const int64_t channels = x.size(1), segments = segment_count(csr.rows, csr.entries);
  check_rows("own", own, csr.rows, channels, x);
  check_rows("y", y, csr.rows, channels, x);
  const OnDevice device(x);
  if (check) check_content(kOp, device, indptr, csr);
  Tensor first_row = torch::stable::new_empty(indptr, {segments + 1});
  Tensor carry = torch::stable::new_empty(x, {segments, channels});
  const StepFactors by{static_cast<float>(gain), static_cast<float>(shift), static_cast<float>(keep)};
  launch_step(csr.rows, csr.entries, channels, csr.indptr, csr.indices, values.const_data_ptr<float>(),
              x.const_data_ptr<float>(), own.const_data_ptr<float>(), y.mutable_data_ptr<float>(), by,
              first_row.mutable_data_ptr<int64_t>(), carry.mutable_data_ptr<float>(), device.stream());
  check_launch(kOp);
}

}  // namespace
}  // namespace sg::cuda

SG_CUDA_OPERATOR(chebyshev_step_)
