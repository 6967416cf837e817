// Host side of unit_project: the rows by a kernel, their coordinates by torch.mm.
//
// The coordinates are those of cuBLAS: they may differ from the CPU's in the last bits, and from call to call of
// different shapes. torch.backends.cuda.matmul.allow_tf32 applies to them. Unit rows and scales depend on their row
// alone.

#include "cuda/unit_project.cuh"

#include <tuple>

#include "cuda/host.h"

namespace sg::cuda {
namespace {

constexpr const char* kOp = "unit_project";

std::tuple<Tensor, Tensor, Tensor> unit_project(const Tensor& rows, const Tensor& mean, const Tensor& basis) {
  const bool half = check_device_half_or_float(kOp, "rows", rows, rows);
  check_device_tensor(kOp, "mean", mean, 1, ScalarType::Float, rows);
  check_device_tensor(kOp, "basis", basis, 2, ScalarType::Float, rows);
  const int64_t count = rows.size(0), depth = rows.size(1);
  SG_CHECK(mean.numel() == depth, kOp, "mean must have as many elements as rows has columns, ", depth, ", got ",
           mean.numel());
  SG_CHECK(basis.size(0) == depth, kOp, "basis must have as many rows as rows has columns, ", depth, ", got ",
           basis.size(0));
  const OnDevice device(rows);
  Tensor unit = torch::stable::new_empty(mean, {count, depth});
  Tensor inverse = torch::stable::new_empty(mean, {count});
  const auto run = [&](auto* from) {
    launch_unit_rows(count, depth, from, mean.const_data_ptr<float>(), unit.mutable_data_ptr<float>(),
                     inverse.mutable_data_ptr<float>(), device.stream());
  };
  if (half) run(static_cast<const Half*>(rows.const_data_ptr()));
  else run(rows.const_data_ptr<float>());
  check_launch(kOp);
  return {unit, inverse, torch::stable::matmul(unit, basis)};
}

}  // namespace
}  // namespace sg::cuda

SG_CUDA_OPERATOR(unit_project)
