// Checks of indices, for the operators whose kernels dereference them.

#pragma once

#include "cuda/host.h"
#include "cuda/index_check.cuh"

namespace sg::cuda {

// Throws for the first index that is not below `bound`, the number of `things`; synchronises with the GPU.
inline void check_indices(const char* op, const char* name, const char* things, const OnDevice& device,
                          const Tensor& indices, int64_t bound) {
  const int64_t count = indices.numel();
  Tensor word = torch::stable::new_zeros(indices, {1}, ScalarType::Long);
  auto* found = reinterpret_cast<unsigned long long*>(word.mutable_data_ptr<int64_t>());
  const int32_t* from = indices.const_data_ptr<int32_t>();
  launch_index_check(op, count, bound, from, found, device.stream());
  check_launch(op);
  const auto beyond = static_cast<int64_t>(device.read_one(op, found));
  if (beyond == 0) return;
  fail(op, name, " must be below the number of ", things, ", ", bound, ", got ",
       device.read_one(op, from + count - beyond));
}

}  // namespace sg::cuda
