// Host side of rotate.

#include "cuda/rotate.cuh"

#include "cuda/host.h"

namespace sg::cuda {
namespace {

constexpr const char* kOp = "rotate";

Tensor rotate(const Tensor& x, const Tensor& u) {
  check_device_tensor(kOp, "x", x, 2, ScalarType::Float, x);
  check_device_tensor(kOp, "u", u, 2, ScalarType::Double, x);
  SG_CHECK(u.size(0) == x.size(1), kOp, "u must have as many rows as x has columns, ", x.size(1), ", got ",
           u.size(0));
  const OnDevice device(x);
  Tensor result = torch::stable::new_empty(x, {x.size(0), u.size(1)});
  launch_rotate(rotate_shape(x.size(0), x.size(1), u.size(1)), x.const_data_ptr<float>(), u.const_data_ptr<double>(),
                result.mutable_data_ptr<float>(), device.stream());
  check_launch(kOp);
  return result;
}

}  // namespace
}  // namespace sg::cuda

SG_CUDA_OPERATOR(rotate)
