// csr_symmetrise: A = (B + B^T) / 2 with sorted columns, and the degrees D = A 1.

#include <tuple>

#include "cpu/torch_api.h"
#include "cpu/transpose.h"

namespace sg {
namespace {

constexpr const char* kOp = "csr_symmetrise";
constexpr int64_t kLeastWork = 8192;  // entries + rows of a part

// A square matrix of which this operator owns the arrays.
struct Owned {
  std::vector<int64_t> indptr;
  std::vector<int32_t> indices;
  std::vector<float> values;

  Owned(int64_t n, int64_t entries)
      : indptr(static_cast<size_t>(n) + 1),
        indices(static_cast<size_t>(entries)),
        values(static_cast<size_t>(entries)) {}

  Csr csr() const {
    const int64_t n = static_cast<int64_t>(indptr.size()) - 1;
    return {indptr.data(), indices.data(), n, n, static_cast<int64_t>(indices.size())};
  }
};

Owned transposed(const Csr& csr, const float* values) {
  Owned out(csr.rows, csr.entries);
  transpose(kOp, csr, values, out.indptr.data(), out.indices.data(), out.values.data());
  return out;
}

bool rows_sorted(const Csr& csr) {
  std::atomic<bool> sorted{true};
  for_each_rows(kOp, csr, kLeastWork, true, [&](int64_t begin, int64_t end) {
    bool here = true;
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t p = csr.indptr[i] + 1; p < csr.indptr[i + 1]; ++p) here &= csr.indices[p - 1] <= csr.indices[p];
    }
    if (!here) sorted.store(false, std::memory_order_relaxed);
  });
  return sorted.load();
}

// Walks the union of the rows i of B and of B^T in ascending order: emit(column, value). The values of either side are
// added up by themselves, in float64 and in their stored order, so the value of (i, j) has the same bits as that of (j,
// i).
template <class Emit>
void merge_row(const Csr& b, const float* b_values, const Csr& t, const float* t_values, int64_t i, const Emit& emit) {
  int64_t p = b.indptr[i], q = t.indptr[i];
  const int64_t p_end = b.indptr[i + 1], q_end = t.indptr[i + 1];
  while (p < p_end || q < q_end) {
    const int32_t column = q == q_end || (p < p_end && b.indices[p] <= t.indices[q]) ? b.indices[p] : t.indices[q];
    double forward = 0, backward = 0;
    for (; p < p_end && b.indices[p] == column; ++p) forward += b_values[p];
    for (; q < q_end && t.indices[q] == column; ++q) backward += t_values[q];
    emit(column, static_cast<float>(0.5 * (forward + backward)));
  }
}

std::tuple<Tensor, Tensor, Tensor, Tensor> csr_symmetrise(const Tensor& indptr, const Tensor& indices,
                                                          const Tensor& values, int64_t n) {
  Csr b = check_csr(kOp, indptr, indices, n);
  check_values(kOp, values, b, ScalarType::Float);
  SG_CHECK(b.rows == n, kOp, "indptr must have n + 1 = ", n + 1, " elements, got ", b.rows + 1);
  const float* b_values = values.const_data_ptr<float>();
  const Owned t = transposed(b, b_values);
  Owned sorted(0, 0);
  if (!rows_sorted(b)) {
    sorted = transposed(t.csr(), t.values.data());
    b = sorted.csr();
    b_values = sorted.values.data();
  }
  Tensor out_indptr = torch::stable::new_empty(indptr, {n + 1});
  Tensor degree = torch::stable::new_empty(values, {n});
  int64_t* starts = out_indptr.mutable_data_ptr<int64_t>();
  starts[0] = 0;
  for_each_rows(kOp, b, kLeastWork, false, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t count = 0;
      merge_row(b, b_values, t.csr(), t.values.data(), i, [&](int32_t, float) { ++count; });
      starts[i + 1] = count;
    }
  });
  for (int64_t i = 0; i < n; ++i) starts[i + 1] += starts[i];
  Tensor out_indices = torch::stable::new_empty(indices, {starts[n]});
  Tensor out_values = torch::stable::new_empty(values, {starts[n]});
  int32_t* columns = out_indices.mutable_data_ptr<int32_t>();
  float* weights = out_values.mutable_data_ptr<float>();
  float* sums = degree.mutable_data_ptr<float>();
  for_each_rows(kOp, b, kLeastWork, false, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t at = starts[i];
      double sum = 0;
      merge_row(b, b_values, t.csr(), t.values.data(), i, [&](int32_t column, float value) {
        columns[at] = column;
        weights[at++] = value;
        sum += value;
      });
      sums[i] = static_cast<float>(sum);
    }
  });
  return {out_indptr, out_indices, out_values, degree};
}

}  // namespace
}  // namespace sg

STABLE_TORCH_LIBRARY_IMPL(spectral_graph, CPU, m) { m.impl("csr_symmetrise", TORCH_BOX(&sg::csr_symmetrise)); }
