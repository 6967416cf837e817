// Host code of the transpose of a valid matrix, for csr_transpose and csr_symmetrise.

#pragma once

#include "cuda/csr_host.h"
#include "cuda/csr_transpose.cuh"

namespace sg::cuda {
namespace {  // torch's Tensor is hidden in a module, so what holds one must be too

struct Transposed {
  Tensor indptr, indices, values;
  Tensor row_of;  // int32, the row of each entry of the transpose
};

// row_of: the row of each entry of `csr`.
template <class T>
Transposed transposed(const char* op, const OnDevice& device, const DeviceCsr& csr, const Tensor& indices,
                      const Tensor& row_of, const Tensor& values) {
  SG_CHECK(csr.entries <= std::numeric_limits<int32_t>::max(), op,
           "indices must have at most 2147483647 elements on a GPU, where torch sorts no more at a time, got ",
           csr.entries, "; move the arguments to the CPU for more");
  const auto [sorted, order] = stable_sort(indices);
  Transposed out{torch::stable::new_empty(order, {csr.columns + 1}),
                 torch::stable::new_empty(indices, {csr.entries}), torch::stable::new_empty(values, {csr.entries}),
                 sorted};
  launch_transpose_starts(op, csr.columns, csr.entries, sorted.const_data_ptr<int32_t>(),
                          out.indptr.mutable_data_ptr<int64_t>(), device.stream());
  launch_transpose_entries<T>(op, csr.entries, order.const_data_ptr<int64_t>(),
                              row_of.const_data_ptr<int32_t>(), values.const_data_ptr<T>(),
                              out.indices.mutable_data_ptr<int32_t>(), out.values.mutable_data_ptr<T>(),
                              device.stream());
  check_launch(op);
  return out;
}

struct EntryRows {
  Tensor row_of;  // int32
  bool sorted;    // every row by column
};

// Returns the row of each entry; with `ask`, also whether the rows are sorted, which synchronises with the GPU.
inline EntryRows find_rows(const char* op, const OnDevice& device, const DeviceCsr& csr, const Tensor& indptr,
                           const Tensor& indices, bool ask) {
  EntryRows out{torch::stable::new_empty(indices, {csr.entries}), true};
  Tensor word = torch::stable::new_zeros(indptr, {1});
  auto* unsorted = reinterpret_cast<unsigned long long*>(word.mutable_data_ptr<int64_t>());
  launch_entry_rows(op, csr.rows, csr.entries, csr.indptr, csr.indices, out.row_of.mutable_data_ptr<int32_t>(),
                    unsorted, device.stream());
  check_launch(op);
  if (ask) out.sorted = device.read_one(op, unsorted) == 0;
  return out;
}

}  // namespace
}  // namespace sg::cuda
