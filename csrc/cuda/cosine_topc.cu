// Host side of cosine_topc.

#include "cuda/cosine_topc.cuh"

#include <tuple>

#include "cuda/index_host.h"

namespace sg::cuda {
namespace {

constexpr const char* kOp = "cosine_topc";

std::tuple<Tensor, Tensor> cosine_topc(const Tensor& query, const Tensor& rows, const Tensor& mean,
                                       const Tensor& inverse_norm, const Tensor& node, const Tensor& candidates,
                                       int64_t c, double threshold) {
  check_device_tensor(kOp, "query", query, 2, ScalarType::Float, query);
  const bool half = check_device_half_or_float(kOp, "rows", rows, query);
  check_device_tensor(kOp, "mean", mean, 1, ScalarType::Float, query);
  check_device_tensor(kOp, "inverse_norm", inverse_norm, 1, ScalarType::Float, query);
  check_device_tensor(kOp, "node", node, 1, ScalarType::Int, query);
  check_device_tensor(kOp, "candidates", candidates, 2, ScalarType::Int, query);
  const int64_t queries = query.size(0), depth = query.size(1), most = candidates.size(1), count = rows.size(0);
  SG_CHECK(rows.size(1) == depth, kOp, "rows must have as many columns as query, ", depth, ", got ", rows.size(1));
  SG_CHECK(mean.numel() == depth, kOp, "mean must have as many elements as query has columns, ", depth, ", got ",
           mean.numel());
  SG_CHECK(inverse_norm.numel() == count, kOp, "inverse_norm must have an element for every row, ", count, ", got ",
           inverse_norm.numel());
  SG_CHECK(node.numel() == count, kOp, "node must have an element for every row, ", count, ", got ", node.numel());
  SG_CHECK(candidates.size(0) == queries, kOp, "candidates must have a row for every query, ", queries, ", got ",
           candidates.size(0));
  SG_CHECK(c >= 0, kOp, "c must be at least 0, got ", c);
  SG_CHECK(threshold >= 0 && threshold <= std::numeric_limits<double>::max(), kOp,
           "threshold must be a finite number of at least 0, got ", threshold);
  SG_CHECK(list_places(c, most) <= kMostPlaces, kOp, "c must be at most ", kMostPlaces, " on a GPU, got ", c,
           "; move the arguments to the CPU for more");
  const OnDevice device(query);
  check_indices(kOp, "candidates", "rows", device, candidates, count);
  Tensor columns = torch::stable::new_empty(candidates, {queries, c});
  Tensor values = torch::stable::new_empty(query, {queries, c});
  const CosineShape shape{queries, depth, most, c, static_cast<float>(threshold)};
  const auto run = [&](auto* from) {
    launch_cosine_topc(shape, query.const_data_ptr<float>(), from, mean.const_data_ptr<float>(),
                       inverse_norm.const_data_ptr<float>(), node.const_data_ptr<int32_t>(),
                       candidates.const_data_ptr<int32_t>(), columns.mutable_data_ptr<int32_t>(),
                       values.mutable_data_ptr<float>(), device.stream());
  };
  if (half) run(static_cast<const Half*>(rows.const_data_ptr()));
  else run(rows.const_data_ptr<float>());
  check_launch(kOp);
  return {columns, values};
}

}  // namespace
}  // namespace sg::cuda

SG_CUDA_OPERATOR(cosine_topc)
