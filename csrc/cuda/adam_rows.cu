// Host side of adam_rows_.

#include "cuda/adam_rows.cuh"

#include "cuda/host.h"

namespace sg::cuda {
namespace {

constexpr const char* kOp = "adam_rows_";

void check_beta(const char* name, double beta) {
  SG_CHECK(beta >= 0 && beta < 1, kOp, name, " must lie in [0, 1), got ", beta);
}

template <class Step>
void update(const Tensor& x, const Tensor& m, const Tensor& v, const Tensor& gradient, const Tensor& step,
            double learning_rate, double beta1, double beta2, double epsilon) {
  const OnDevice device(x);
  const int64_t rows = x.size(0), channels = x.size(1);
  Tensor sizes = torch::stable::new_empty(x, {rows, 2});
  Tensor word = torch::stable::new_zeros(x, {1}, ScalarType::Long);
  const AdamArrays arrays{x.mutable_data_ptr<float>(),
                          m.mutable_data_ptr<float>(),
                          v.mutable_data_ptr<float>(),
                          gradient.const_data_ptr<float>(),
                          reinterpret_cast<Vector<float, 2>*>(sizes.mutable_data_ptr<float>()),
                          reinterpret_cast<unsigned long long*>(word.mutable_data_ptr<int64_t>())};
  const AdamBetas betas{static_cast<float>(beta1), static_cast<float>(beta2), static_cast<float>(1 - beta1),
                        static_cast<float>(1 - beta2), static_cast<float>(epsilon)};
  const Step* counts = step.const_data_ptr<Step>();
  launch_adam_rows(rows, channels, arrays, counts, learning_rate, beta1, beta2, betas, device.stream());
  check_launch(kOp);
  const auto fault = static_cast<int64_t>(device.read_one(kOp, arrays.fault));
  if (fault == 0) return;
  const int64_t i = rows - fault;
  fail(kOp, "step must be at least 1, got step[", i, "] = ", device.read_one(kOp, counts + i));
}

void adam_rows_(const Tensor& x, const Tensor& m, const Tensor& v, const Tensor& gradient, const Tensor& step,
                double learning_rate, double beta1, double beta2, double epsilon) {
  check_device_tensor(kOp, "x", x, 2, ScalarType::Float, x);
  const auto check_same = [&](const char* name, const Tensor& tensor) {
    check_device_tensor(kOp, name, tensor, 2, ScalarType::Float, x);
    SG_CHECK(tensor.size(0) == x.size(0) && tensor.size(1) == x.size(1), kOp, name, " must have the shape of x, ",
             shape_text(x), ", got ", shape_text(tensor));
  };
  check_same("m", m);
  check_same("v", v);
  check_same("gradient", gradient);
  const ScalarType type = step.scalar_type();
  SG_CHECK(type == ScalarType::Long || type == ScalarType::Float, kOp, "step must be int64 or float32, got ",
           dtype_name(type));
  check_device_tensor(kOp, "step", step, 1, type, x);
  SG_CHECK(step.size(0) == x.size(0), kOp, "step must have as many elements as x has rows, ", x.size(0), ", got ",
           step.size(0));
  check_beta("beta1", beta1);
  check_beta("beta2", beta2);
  const auto run = type == ScalarType::Long ? update<int64_t> : update<float>;
  run(x, m, v, gradient, step, learning_rate, beta1, beta2, epsilon);
}

}  // namespace
}  // namespace sg::cuda

SG_CUDA_OPERATOR(adam_rows_)
