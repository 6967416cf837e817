// Host side of topc_merge.

#include "cuda/topc_merge.cuh"

#include <tuple>
#include <vector>

#include "cuda/csr_host.h"

namespace sg::cuda {
namespace {

constexpr const char* kOp = "topc_merge";

std::tuple<Tensor, Tensor, Tensor> topc_merge(const std::vector<Tensor>& indptr, const std::vector<Tensor>& indices,
                                              const std::vector<Tensor>& values, int64_t c) {
  SG_CHECK(!indptr.empty(), kOp, "indptr must hold at least one tensor, got none");
  SG_CHECK(indices.size() == indptr.size() && values.size() == indptr.size(), kOp,
           "indptr, indices and values must hold equally many tensors, got ", indptr.size(), ", ", indices.size(),
           " and ", values.size());
  SG_CHECK(c >= 0, kOp, "c must be at least 0, got ", c);
  const OnDevice device(indptr[0]);
  int64_t rows = 0, candidates = 0;
  for (size_t k = 0; k < indptr.size(); ++k) {
    const DeviceCsr csr =
        check_device_csr(kOp, indptr[k], indices[k], std::numeric_limits<int32_t>::max(), indptr[0]);
    check_device_values(kOp, values[k], csr, ScalarType::Float, indptr[0]);
    if (k == 0) rows = csr.rows;
    SG_CHECK(csr.rows == rows, kOp, "all lists must have as many rows as the first, ", rows, ", got ", csr.rows,
             " in list ", k);
    check_content(kOp, device, indptr[k], csr);
    candidates += csr.entries;
  }
  const int64_t places = std::min(c, candidates);
  SG_CHECK(places <= kMostPlaces, kOp, "c must be at most ", kMostPlaces, " on a GPU, got ", c,
           "; move the arguments to the CPU for more");

  Tensor kept = torch::stable::new_zeros(indptr[0], {rows, places});
  auto* keys = reinterpret_cast<uint64_t*>(kept.mutable_data_ptr<int64_t>());
  for (size_t first = 0; first < indptr.size(); first += kMergeLists) {
    CandidateLists lists{};
    lists.count = static_cast<int>(std::min<size_t>(kMergeLists, indptr.size() - first));
    for (int k = 0; k < lists.count; ++k) {
      lists.indptr[k] = indptr[first + k].const_data_ptr<int64_t>();
      lists.indices[k] = indices[first + k].const_data_ptr<int32_t>();
      lists.values[k] = values[first + k].const_data_ptr<float>();
    }
    launch_topc_merge(rows, lists, places, keys, device.stream());
    check_launch(kOp);
  }

  Tensor counts = torch::stable::new_zeros(indptr[0], {rows + 1});  // a 0 before the first row
  launch_topc_count(kOp, rows, places, 0, keys, keys, counts.mutable_data_ptr<int64_t>() + 1, device.stream());
  check_launch(kOp);
  Tensor out_indptr = cumulative(counts);
  const int64_t entries = device.read_one(kOp, out_indptr.const_data_ptr<int64_t>() + rows);
  Tensor out_indices = torch::stable::new_empty(indices[0], {entries});
  Tensor out_values = torch::stable::new_empty(values[0], {entries});
  launch_topc_write(kOp, rows, places, 0, keys, keys, out_indptr.const_data_ptr<int64_t>(),
                    out_indices.mutable_data_ptr<int32_t>(), out_values.mutable_data_ptr<float>(), device.stream());
  check_launch(kOp);
  return {out_indptr, out_indices, out_values};
}

}  // namespace
}  // namespace sg::cuda

SG_CUDA_OPERATOR(topc_merge)
