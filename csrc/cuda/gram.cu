// Host side of gram.

#include "cuda/gram.cuh"

#include <optional>

#include "cuda/host.h"

namespace sg::cuda {
namespace {

constexpr const char* kOp = "gram";

Tensor gram(const Tensor& x, const std::optional<Tensor>& y) {
  check_device_tensor(kOp, "x", x, 2, ScalarType::Float, x);
  if (y) {
    check_device_tensor(kOp, "y", *y, 2, ScalarType::Float, x);
    SG_CHECK(y->size(0) == x.size(0), kOp, "y must have as many rows as x, ", x.size(0), ", got ", y->size(0));
  }
  const Tensor& right = y ? *y : x;
  const OnDevice device(x);
  const GramShape shape = gram_shape(x.size(0), x.size(1), right.size(1));
  Tensor result = torch::stable::new_empty(x, {shape.left, shape.right}, ScalarType::Double);
  Tensor partial = torch::stable::new_empty(x, {shape.chunks, shape.left, shape.right}, ScalarType::Double);
  launch_gram(shape, !y, x.const_data_ptr<float>(), right.const_data_ptr<float>(), partial.mutable_data_ptr<double>(),
              result.mutable_data_ptr<double>(), device.stream());
  check_launch(kOp);
  return result;
}

}  // namespace
}  // namespace sg::cuda

SG_CUDA_OPERATOR(gram)
