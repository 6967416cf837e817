// Host side of cell_topc.

#include "cuda/cell_topc.cuh"

#include <tuple>
#include <vector>

#include "cuda/index_host.h"

namespace sg::cuda {
namespace {

constexpr const char* kOp = "cell_topc";

void check_starts(const std::vector<int64_t>& starts, int64_t rows) {
  SG_CHECK(starts.front() >= 0 && starts.back() <= rows, kOp, "cell_ptr must lie in [0, ", rows, "], got ",
           starts.front(), " to ", starts.back());
  check_ascending(kOp, "cell_ptr", starts);
}

std::tuple<Tensor, Tensor> cell_topc(const Tensor& query, const Tensor& query_image, const Tensor& keys,
                                     const Tensor& key_image, const Tensor& cell_ptr, const Tensor& probes,
                                     int64_t c) {
  check_device_tensor(kOp, "query", query, 2, ScalarType::Float, query);
  check_device_tensor(kOp, "query_image", query_image, 1, ScalarType::Int, query);
  const bool half = check_device_half_or_float(kOp, "keys", keys, query);
  check_device_tensor(kOp, "key_image", key_image, 1, ScalarType::Int, query);
  check_device_tensor(kOp, "cell_ptr", cell_ptr, 1, ScalarType::Long, query);
  check_device_tensor(kOp, "probes", probes, 2, ScalarType::Int, query);
  const int64_t queries = query.size(0), depth = query.size(1), rows = keys.size(0);
  SG_CHECK(keys.size(1) == depth, kOp, "keys must have as many columns as query, ", depth, ", got ", keys.size(1));
  SG_CHECK(query_image.numel() == queries, kOp, "query_image must have an element for every query, ", queries,
           ", got ", query_image.numel());
  SG_CHECK(rows <= std::numeric_limits<int32_t>::max(), kOp, "keys must have at most 2147483647 rows, got ", rows);
  SG_CHECK(key_image.numel() == rows, kOp, "key_image must have an element for every key, ", rows, ", got ",
           key_image.numel());
  SG_CHECK(cell_ptr.numel() >= 1, kOp, "cell_ptr must have cells + 1 elements, got none");
  SG_CHECK(probes.size(0) == queries, kOp, "probes must have a row for every query, ", queries, ", got ",
           probes.size(0));
  SG_CHECK(c >= 0, kOp, "c must be at least 0, got ", c);
  SG_CHECK(list_places(c, rows) <= kMostPlaces, kOp, "c must be at most ", kMostPlaces, " on a GPU, got ", c,
           "; move the arguments to the CPU for more");
  const OnDevice device(query);
  const int64_t cells = cell_ptr.numel() - 1;
  std::vector<int64_t> starts(static_cast<size_t>(cells) + 1);
  device.read(kOp, cell_ptr.const_data_ptr<int64_t>(), starts.data(), cells + 1);
  check_starts(starts, rows);
  check_indices(kOp, "probes", "cells", device, probes, cells);
  Tensor columns = torch::stable::new_empty(query, {queries, c}, ScalarType::Int);
  Tensor values = torch::stable::new_empty(query, {queries, c});
  const CellShape shape{queries, depth, probes.size(1), c};
  const auto run = [&](auto* from) {
    launch_cell_topc(shape, rows, query.const_data_ptr<float>(), query_image.const_data_ptr<int32_t>(), from,
                     key_image.const_data_ptr<int32_t>(), cell_ptr.const_data_ptr<int64_t>(),
                     probes.const_data_ptr<int32_t>(), columns.mutable_data_ptr<int32_t>(),
                     values.mutable_data_ptr<float>(), device.stream());
  };
  if (half) run(static_cast<const Half*>(keys.const_data_ptr()));
  else run(keys.const_data_ptr<float>());
  check_launch(kOp);
  return {columns, values};
}

}  // namespace
}  // namespace sg::cuda

SG_CUDA_OPERATOR(cell_topc)
